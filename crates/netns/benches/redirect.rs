//! Prints what the redirect costs against a plain listener in the same namespace.

fn main() {}
