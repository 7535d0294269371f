//! Our types as columns: a moment, a word (whatever serde writes as a JSON string), and JSON.

use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::model::Moment;

/// A moment as text that sorts.
pub(super) struct At(pub(super) Moment);

/// A name or a plain enum, as the bare word.
pub(super) struct Word<T>(pub(super) T);

/// Anything as JSON.
pub(super) struct Json<T>(pub(super) T);

impl ToSql for At {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(format!("{:.9}", self.0).into())
    }
}

impl FromSql for At {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(At).map_err(FromSqlError::other)
    }
}

impl<T: Serialize> ToSql for Word<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match serde_json::to_value(&self.0) {
            Ok(Value::String(text)) => Ok(text.into()),
            Ok(other) => Err(rusqlite::Error::ToSqlConversionFailure(format!("{other} is not a word").into())),
            Err(error) => Err(rusqlite::Error::ToSqlConversionFailure(error.into())),
        }
    }
}

impl<T: DeserializeOwned> FromSql for Word<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_value(value.as_str()?.into()).map(Word).map_err(FromSqlError::other)
    }
}

impl<T: Serialize> ToSql for Json<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match serde_json::to_string(&self.0) {
            Ok(text) => Ok(text.into()),
            Err(error) => Err(rusqlite::Error::ToSqlConversionFailure(error.into())),
        }
    }
}

impl<T: DeserializeOwned> FromSql for Json<T> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        serde_json::from_str(value.as_str()?).map(Json).map_err(FromSqlError::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_sort_as_text() {
        let connection = rusqlite::Connection::open_in_memory().unwrap();
        let text = |moment: &str| -> String {
            connection.query_row("SELECT ?1", [At(moment.parse().unwrap())], |row| row.get(0)).unwrap()
        };
        assert_eq!(text("2026-01-02T03:04:05Z"), "2026-01-02T03:04:05.000000000Z");
        assert!(text("2026-01-02T03:04:05Z") < text("2026-01-02T03:04:05.000000001Z"));
        assert!(text("2026-01-02T03:04:05.5Z") < text("2026-01-02T03:04:06Z"));
    }
}
