//! Observe, plan, execute, publish: one task an app.
