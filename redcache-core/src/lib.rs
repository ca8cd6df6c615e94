//! The pure sans-IO core of redcache (module list grows as the layers land).
pub mod resp;
