//! The engine that runs every instance as a container of a Docker Engine.
