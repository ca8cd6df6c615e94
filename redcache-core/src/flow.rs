//! What to do about one key, step by step, without knowing how commands travel.

pub(crate) mod get;
pub(crate) mod held;
pub(crate) mod pace;
pub(crate) mod refresh;
pub(crate) mod set;
