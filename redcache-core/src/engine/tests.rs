//! The engine against servers whose replies the test writes.

mod joins;
mod silence;
mod world;
