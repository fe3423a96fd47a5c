//! The text of compose files and an environment in; a Spec, or all diagnostics with line and column, out.
