//! Desired, observed, policy and now in; a Plan and a Report out; and the checker of plans.
