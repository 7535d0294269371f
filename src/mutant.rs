//! Bugs that are put in on purpose, to show that the simulation finds such. Builds for tests alone have them, and there
//! each is off until a test turns it on for its thread.

#[cfg(test)]
thread_local! {
    static ON: std::cell::Cell<&'static str> = const { std::cell::Cell::new("") };
}

/// Returns whether the bug of that name is on.
#[cfg(test)]
pub(crate) fn is_on(name: &str) -> bool {
    ON.get() == name
}

#[cfg(not(test))]
pub(crate) const fn is_on(_name: &str) -> bool {
    false
}

/// Turns a bug on, and every other off.
#[cfg(test)]
pub(crate) fn turn_on(name: &'static str) {
    ON.set(name);
}
