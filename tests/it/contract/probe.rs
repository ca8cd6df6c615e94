/// The name and the steps of a dialogue.
pub(super) type Probe = (&'static str, &'static [&'static str]);
