//! Values as they come by command or by API: text as it stands in a file, or JSON of the same meaning. A list or table
//! may be written as in a file, too.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Refused, about};
use crate::config::file::{memory as sized, reference, variable as plain};
use crate::config::settings::{AutoStart, Day, Limit};
use crate::config::text;
use crate::model::{Bytes, Cpus, PortMapping, QuantityError};

type Read<T> = Result<T, QuantityError>;

/// Longer ones are no names, images or spans.
const LONGEST: usize = 1024;
const MOST_PORTS: usize = 64;

fn wrong<T>(message: impl Into<String>, hint: impl Into<String>) -> Read<T> {
    Err(QuantityError { message: message.into(), hint: hint.into() })
}

pub(super) fn text(value: &Value) -> Read<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(switch) => switch.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return wrong("a single value is needed", "write a text"),
    };
    if text.len() > LONGEST {
        wrong("the value is too long", format!("write at most {LONGEST} bytes"))
    } else {
        Ok(text)
    }
}

pub(super) fn image(value: &Value) -> Read<String> {
    reference(&text(value)?)
}

pub(super) fn cpus(value: &Value) -> Read<Cpus> {
    let text = text(value)?;
    match text.parse::<f64>() {
        Ok(number) => Cpus::new(number),
        Err(_) => wrong(format!("`{text}` is not a number of cpus"), "write a number, such as `2` or `0.5`"),
    }
}

pub(super) fn memory(value: &Value) -> Read<Bytes> {
    sized(&text(value)?)
}

pub(super) fn limit(value: &Value) -> Read<Limit> {
    text(value)?.parse()
}

/// Reads `09:00`, `never`, `09:00 on mon tue`, or `{ at = "09:00", days = ["mon"] }`.
pub(super) fn auto_start(value: &Value) -> Read<AutoStart> {
    if let Value::Object(table) = opened(value)? {
        if let Some(key) = table.keys().find(|key| !["at", "days"].contains(&key.as_str())) {
            return wrong(format!("`{key}` does not belong there"), "the keys are `at` and `days`");
        }
        let Some(at) = table.get("at") else { return wrong("`at` is missing", "write `at`, such as `\"09:00\"`") };
        let time = text::time(&text(at)?)?;
        let days = match table.get("days") {
            None | Some(Value::Null) => None,
            Some(Value::Array(days)) => Some(days.iter().map(|day| text(day)?.parse()).collect::<Read<_>>()?),
            Some(_) => return wrong("`days` is not a list", "write it like `[\"mon\", \"tue\"]`"),
        };
        return Ok(AutoStart::At { time, days });
    }
    let text = text(value)?;
    let Some((at, days)) = text.split_once(" on ") else { return text.parse() };
    let days = days.split([' ', ',']).filter(|day| !day.is_empty()).map(str::parse::<Day>).collect::<Read<_>>()?;
    Ok(AutoStart::At { time: text::time(at.trim())?, days: Some(days) })
}

/// Reads `127.0.0.1:8080:8080`, several with commas between them, or a list; an empty text publishes nothing.
pub(super) fn ports(value: &Value) -> Read<Vec<PortMapping>> {
    let items: Vec<String> = if let Value::Array(items) = opened(value)? {
        items.iter().map(text).collect::<Read<_>>()?
    } else {
        text(value)?.split([',', ' ']).filter(|port| !port.is_empty()).map(str::to_owned).collect()
    };
    if items.len() > MOST_PORTS {
        return wrong("these are too many ports", format!("publish at most {MOST_PORTS}"));
    }
    items.iter().map(|port| port.parse()).collect()
}

pub(super) fn variable_name(name: &str) -> Result<String, Refused> {
    text::env_name(name).map_err(|error| about(&format!("env.{name}"), error))
}

pub(super) fn variable(value: &Value) -> Read<String> {
    // A text may be longer here than where it is a name.
    if let Value::String(value) = value { plain(value) } else { plain(&text(value)?) }
}

/// Reads the whole environment: `{ EDITOR = "vim" }`.
pub(super) fn environment(value: &Value) -> Result<BTreeMap<String, String>, Refused> {
    let Value::Object(table) = opened(value).map_err(|error| about("env", error))? else {
        let hint = "write one variable, `env.EDITOR=vim`, or all of them, `env={ EDITOR = \"vim\" }`";
        return Err(Refused::malformed("`env`: this is no table of variables", hint));
    };
    let one = |(name, value): (&String, &Value)| {
        let name = variable_name(name)?;
        let value = variable(value).map_err(|error| about(&format!("env.{name}"), error))?;
        Ok((name, value))
    };
    table.iter().map(one).collect()
}

/// Opens a text that is a list or a table as it would stand in a file.
fn opened(value: &Value) -> Read<Value> {
    let Value::String(text) = value else { return Ok(value.clone()) };
    if !text.trim_start().starts_with(['{', '[']) {
        return Ok(value.clone());
    }
    let parsed = format!("value = {text}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("value"));
    match parsed.map(serde_json::to_value) {
        Some(Ok(opened)) => Ok(opened),
        Some(Err(_)) | None => wrong(format!("`{text}` cannot be read"), "write it as it would stand in a file"),
    }
}
