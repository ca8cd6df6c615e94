//! What to do about one key, step by step, without knowing how commands travel.

pub(crate) mod get;
