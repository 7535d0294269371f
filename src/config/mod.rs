//! Texts in, [`Settings`] out, or every problem at once.

pub mod settings;

pub use settings::Settings;
