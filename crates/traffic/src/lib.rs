//! Routing state and the decisions on the path of a call, without I/O: balancing, holds, drains.
