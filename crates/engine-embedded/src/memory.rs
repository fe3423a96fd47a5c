//! The memory that a process keeps although nothing is in it.

/// Gives the machine back what the allocator keeps of memory that was freed. Reading a document
/// of a thousand services takes megabytes for a moment, and the C library would keep them.
/// It takes about a millisecond, in which other threads may wait for memory.
pub fn give_back_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it may be called at any time from any thread, and changes nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
