//! Texts in, [`Settings`] out, or every problem at once.

pub mod effective;
pub mod image;
pub mod member;
pub mod settings;
pub mod spec;
pub mod text;

pub use effective::Effective;
pub use member::{MemberUser, MemberWorkspace, Members};
pub use settings::Settings;
pub use spec::SpecSummary;
