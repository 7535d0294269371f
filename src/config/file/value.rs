//! Reads single values of a file.

use std::path::PathBuf;
use std::str::FromStr;

use toml::de::DeValue;

use crate::config::problem::Fault;
use crate::config::source::Place;
use crate::model::{NameError, QuantityError};

/// Why a value cannot be read.
pub(super) enum Wrong {
    /// It is of another type; what it should be.
    Type(&'static str),
    Value(QuantityError),
}

impl Wrong {
    /// Returns it as a fault at a place.
    pub(super) fn at(self, place: Place) -> Fault {
        match self {
            Wrong::Type(expected) => Fault::new(place, format!("{expected} is needed here")),
            Wrong::Value(error) => Fault::new(place, error.message).help(error.hint),
        }
    }
}

impl From<QuantityError> for Wrong {
    fn from(error: QuantityError) -> Self {
        Wrong::Value(error)
    }
}

/// Returns a reader of texts that mean something.
pub(super) fn as_<T>(read: impl Fn(&str) -> Result<T, QuantityError>) -> impl Fn(&DeValue<'_>) -> Result<T, Wrong> {
    move |value| Ok(read(value.as_str().ok_or(Wrong::Type("a string"))?)?)
}

/// Reads a text that means a `T`.
pub(super) fn parsed<T: FromStr<Err = QuantityError>>(value: &DeValue<'_>) -> Result<T, Wrong> {
    Ok(value.as_str().ok_or(Wrong::Type("a string"))?.parse()?)
}

pub(super) fn switch(value: &DeValue<'_>) -> Result<bool, Wrong> {
    value.as_bool().ok_or(Wrong::Type("`true` or `false`"))
}

pub(super) fn count(value: &DeValue<'_>) -> Result<u32, Wrong> {
    let integer = value.as_integer().ok_or(Wrong::Type("a whole number"))?;
    u32::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| {
        let hint = format!("write a whole number from 0 to {}", u32::MAX);
        Wrong::Value(QuantityError { message: format!("`{integer}` is out of range"), hint })
    })
}

pub(super) fn number(value: &DeValue<'_>) -> Result<f64, Wrong> {
    let whole = value.as_integer().map(|integer| {
        // What no 64 bits hold is out of every range.
        i64::from_str_radix(integer.as_str(), integer.radix()).map_or(f64::INFINITY, |whole| whole as f64)
    });
    let number = whole.or_else(|| value.as_float()?.as_str().parse().ok());
    number.ok_or(Wrong::Type("a number"))
}

/// Reads the absolute path of a file or directory, without `..`.
pub(super) fn path(value: &DeValue<'_>) -> Result<PathBuf, Wrong> {
    as_(absolute)(value)
}

pub(super) fn absolute(text: &str) -> Result<PathBuf, QuantityError> {
    let path = PathBuf::from(text);
    if !path.is_absolute() || text.contains(['\0', '\n']) || text.split('/').any(|part| part == "..") {
        let hint = "write an absolute path without `..`".to_owned();
        return Err(QuantityError { message: format!("`{text}` is not an absolute path"), hint });
    }
    // Collected from its components it has no `//`, no `/./` and no slash at its end.
    Ok(path.components().collect())
}

/// Reads a name of rule C3.
pub(super) fn name<N: FromStr<Err = NameError>>(text: &str) -> Result<N, Wrong> {
    text.parse().map_err(|error: NameError| {
        let slug: String =
            text.to_lowercase().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let slug = slug.trim_matches('-');
        let hint = match slug.parse::<N>() {
            Ok(_) => format!("write `{slug}`"),
            Err(_) => "choose another name".to_owned(),
        };
        Wrong::Value(QuantityError { message: error.to_string(), hint })
    })
}

/// Reads a value that is a name of rule C3.
pub(super) fn named<N: FromStr<Err = NameError>>(value: &DeValue<'_>) -> Result<N, Wrong> {
    name(value.as_str().ok_or(Wrong::Type("a string"))?)
}
