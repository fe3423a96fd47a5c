//! What happened in runs, counted.

use std::fmt;

/// Counts over one run or many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs.
    pub runs: u64,
    /// Calls that ended, in any way.
    pub calls: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Calls that were held for a while.
    pub held: u64,
    /// Calls that were refused with a reason.
    pub refused: u64,
    /// Calls that were held to their deadline, and refused then.
    pub timed_out: u64,
    /// Calls that died with a program or daemon that was made to.
    pub crashed: u64,
    /// Connections that were cut at the deadline of a drain.
    pub cut: u64,
    /// Calls that failed because one further down did.
    pub failed_downstream: u64,
    /// Passes.
    pub passes: u64,
    /// Steps.
    pub steps: u64,
    /// Services that were woken by a call.
    pub wakes: u64,
    /// Services that fell asleep.
    pub rests: u64,
    /// Faults injected.
    pub faults: u64,
}

impl Tally {
    /// The counts of both.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            runs: self.runs + other.runs,
            calls: self.calls + other.calls,
            answered: self.answered + other.answered,
            held: self.held + other.held,
            refused: self.refused + other.refused,
            timed_out: self.timed_out + other.timed_out,
            crashed: self.crashed + other.crashed,
            cut: self.cut + other.cut,
            failed_downstream: self.failed_downstream + other.failed_downstream,
            passes: self.passes + other.passes,
            steps: self.steps + other.steps,
            wakes: self.wakes + other.wakes,
            rests: self.rests + other.rests,
            faults: self.faults + other.faults,
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} runs, {} passes, {} steps, {} faults injected",
            self.runs, self.passes, self.steps, self.faults
        )?;
        writeln!(
            f,
            "{} calls, {} of them held: {} answered, {} refused, {} timed out, {} crashed, \
             {} cut at a drain's deadline, {} failed further down",
            self.calls,
            self.held,
            self.answered,
            self.refused,
            self.timed_out,
            self.crashed,
            self.cut,
            self.failed_downstream
        )?;
        write!(f, "{} wakes, {} rests", self.wakes, self.rests)
    }
}
