//! Desire, planner, guard. Pure and synchronous.
