//! The engine that needs nothing installed: namespaces, an overlay and cgroups of this machine.
