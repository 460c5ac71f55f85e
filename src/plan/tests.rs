//! A world where both sides agree, one change, the plan.
