//! The words that values are written in (rule C2a): spans that may be endless, days, times, choices, names of accounts.
//!
//! Every error says what is wrong and, as its hint, what would be right.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use super::settings::{ActivityKind, AutoStart, Day, Ignored, Limit, Override, Principal, Pull, Sourced, Zone};
use crate::model::{QuantityError, Span};

fn wrong<T>(message: impl Into<String>, hint: impl Into<String>) -> Result<T, QuantityError> {
    Err(QuantityError { message: message.into(), hint: hint.into() })
}

/// Returns the word of `words` that somebody who wrote `text` most likely meant.
pub fn nearest<'a>(text: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let reach = (text.chars().count() / 3).max(1);
    words
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&text.to_lowercase(), &word.to_lowercase()), word))
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// Returns `did you mean …?` or, where nothing is near, `write …`.
pub fn choose_from(text: &str, words: &[&str]) -> String {
    match nearest(text, words.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("write one of {}", listed(words)),
    }
}

/// Returns the words in quotes with commas between them.
pub fn listed<S: AsRef<str>>(words: &[S]) -> String {
    words.iter().map(|word| format!("`{}`", word.as_ref())).collect::<Vec<_>>().join(", ")
}

macro_rules! choice {
    ($($name:ident { $($variant:ident = $word:literal),+ })*) => {
        $(
            impl $name {
                /// The words for it, as they stand in files.
                pub const WORDS: &'static [&'static str] = &[$($word),+];

                /// Returns the word for it.
                pub fn as_str(self) -> &'static str {
                    match self {
                        $($name::$variant => $word),+
                    }
                }
            }

            impl FromStr for $name {
                type Err = QuantityError;

                fn from_str(text: &str) -> Result<Self, QuantityError> {
                    match text {
                        $($word => Ok($name::$variant),)+
                        _ => wrong(
                            format!("`{text}` is none of {}", listed(Self::WORDS)),
                            choose_from(text, Self::WORDS),
                        ),
                    }
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.pad(self.as_str())
                }
            }
        )*
    };
}

choice! {
    Pull { Always = "always", Missing = "missing", Never = "never" }
    Override { Deny = "deny", Modify = "modify", Disable = "disable" }
    ActivityKind { Open = "open", Traffic = "traffic" }
}

impl FromStr for Limit {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        if text == "never" {
            return Ok(Limit::Never);
        }
        match text.parse::<Span>() {
            Ok(span) if span.0.is_zero() => wrong(format!("`{text}` is no time at all"), "write a duration or `never`"),
            Ok(span) => Ok(Limit::After(span.0)),
            Err(error) => wrong(error.message, format!("{}, or `never`", error.hint)),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Never => f.pad("never"),
            Limit::After(span) => Span(*span).fmt(f),
        }
    }
}

/// The days of a week as they are written, Monday first.
pub const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Day {
    /// Returns all seven days.
    pub fn all() -> BTreeSet<Day> {
        (0..7).filter_map(|offset| Weekday::from_monday_zero_offset(offset).ok()).map(Day).collect()
    }
}

impl FromStr for Day {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let offset = DAYS.iter().position(|day| *day == text);
        match offset.and_then(|offset| Weekday::from_monday_zero_offset(offset as i8).ok()) {
            Some(day) => Ok(Day(day)),
            None => {
                let start = text.to_lowercase().chars().take(3).collect::<String>();
                let hint = match DAYS.iter().find(|day| **day == start) {
                    Some(day) => format!("did you mean `{day}`?"),
                    None => format!("write one of {}", listed(&DAYS)),
                };
                wrong(format!("`{text}` is not a day of the week"), hint)
            }
        }
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(DAYS[self.0.to_monday_zero_offset() as usize])
    }
}

/// Reads a time of day, `08:30`.
///
/// # Errors
/// When it is not one; a 12-hour clock is not read.
pub fn time(text: &str) -> Result<Time, QuantityError> {
    let is_plain = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    let digits = |part: &str| part.parse::<i8>().ok().filter(|_| is_plain(part));
    let parsed = text.split_once(':').and_then(|(hour, minute)| Time::new(digits(hour)?, digits(minute)?, 0, 0).ok());
    match parsed {
        Some(time) => Ok(time),
        None => wrong(format!("`{text}` is not a time of day"), "write it with 24 hours, such as `08:30`"),
    }
}

/// Reads a date, `2026-12-25`.
///
/// # Errors
/// When there is no such day.
pub fn date(text: &str) -> Result<Date, QuantityError> {
    match text.parse::<Date>() {
        Ok(date) if date.to_string() == text => Ok(date),
        _ => wrong(format!("`{text}` is not a date"), "write a day that exists, such as `2026-12-25`"),
    }
}

/// Reads the name of a zone of the IANA database.
///
/// # Errors
/// When the database has none of that name.
pub fn zone(text: &str) -> Result<Zone, QuantityError> {
    let named = text == "UTC" || text.contains('/') || text.chars().all(|c| c.is_ascii_alphanumeric());
    if named && let Ok(zone) = TimeZone::get(text) {
        let name = zone.iana_name().unwrap_or(text).to_owned();
        return Ok(Zone { name, zone });
    }
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let city = |name: &str| name.rsplit('/').next().unwrap_or_default().to_lowercase();
    let meant = nearest(text, known.iter().map(String::as_str))
        .or_else(|| known.iter().map(String::as_str).find(|name| city(name) == city(text)));
    let hint = match meant {
        Some(name) => format!("did you mean `{name}`?"),
        None => "write a name of the IANA database, such as `Europe/Berlin`".to_owned(),
    };
    wrong(format!("`{text}` is not a time zone"), hint)
}

impl Zone {
    /// Returns UTC.
    pub fn utc() -> Self {
        Self { name: "UTC".to_owned(), zone: TimeZone::UTC }
    }
}

impl FromStr for Principal {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (name, group) = text.strip_prefix('@').map_or((text, false), |name| (name, true));
        account(name)
            .map_err(|error| QuantityError { message: format!("`{text}` is not an account or a group"), ..error })?;
        Ok(if group { Principal::Group(name.to_owned()) } else { Principal::Account(name.to_owned()) })
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Principal::Account(name) => f.write_str(name),
            Principal::Group(name) => write!(f, "@{name}"),
        }
    }
}

/// Reads the name of a host account. Directories have names of their own taste (`ACME\alice`, `alice@acme`), so that
/// only what no account can be called is refused.
///
/// # Errors
/// When no account can have that name.
pub fn account(text: &str) -> Result<String, QuantityError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ':' | ',' | '/');
    if text.is_empty() || text.starts_with(['-', '@']) || text.contains(bad) {
        return wrong(format!("`{text}` is not the name of an account"), "write an account, or a group with `@`");
    }
    Ok(text.to_owned())
}

/// Reads the name of an environment variable that a configuration or a member may set (rule C7).
///
/// # Errors
/// When it is not a name, or is one that hearth sets itself.
pub fn env_name(text: &str) -> Result<String, QuantityError> {
    let good = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !good {
        let hint = "a name is letters, digits and `_`, with no digit first";
        return wrong(format!("`{text}` is not the name of an environment variable"), hint);
    }
    if matches!(text, "HOME" | "USER" | "LOGNAME" | "SHELL") || text.starts_with("HEARTH") {
        let hint =
            "choose another name: `HOME`, `USER`, `LOGNAME`, `SHELL` and all that begins with `HEARTH` are reserved";
        return wrong(format!("hearth sets `{text}` itself"), hint);
    }
    Ok(text.to_owned())
}

/// Reads a text of one line: what goes into the configuration of `git` and into environments.
///
/// # Errors
/// When it is empty or has a control character.
pub fn line(text: &str) -> Result<String, QuantityError> {
    if text.trim().is_empty() {
        return wrong("the text is empty", "leave the key out where there is nothing to say");
    }
    if text.contains(char::is_control) {
        return wrong("the text has a control character in it", "write one line of plain text");
    }
    Ok(text.to_owned())
}

/// Reads an e-mail address, as far as `git` cares.
///
/// # Errors
/// When it is not one.
pub fn email(text: &str) -> Result<String, QuantityError> {
    let address = line(text)?;
    let good = address.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    if !good || address.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>')) {
        return wrong(format!("`{text}` is not an e-mail address"), "write it like `alice@acme.example`");
    }
    Ok(address)
}

/// Reads the place of a dotfiles repository. It becomes an argument of `git clone`, so it may not look like an option.
///
/// # Errors
/// When it cannot be one.
pub fn repository(text: &str) -> Result<String, QuantityError> {
    let place = line(text)?;
    // `ext::` and other helpers of git run commands of their own.
    let helper = |place: &str| place.split_once("::").is_some_and(|(name, _)| name.chars().all(char::is_alphanumeric));
    if place.starts_with('-') || place.contains(char::is_whitespace) || helper(&place) {
        let hint =
            "write it like `git@git.acme.example:alice/dotfiles.git` or `https://git.acme.example/alice/dotfiles`";
        return wrong(format!("`{text}` is not the place of a repository"), hint);
    }
    let authority = place.split_once("://").map(|(scheme, rest)| (scheme, rest.split('/').next().unwrap_or_default()));
    if let Some((scheme, authority)) = authority {
        let who = authority.rsplit_once('@').map(|(who, _)| who);
        if who.is_some_and(|who| who.contains(':') || scheme != "ssh") {
            return wrong(
                "a password or token does not belong into the place of a repository",
                "it would stand in logs and in the home: write `git@HOST:PATH`, and give the Git server the key of `hearth git key`",
            );
        }
    }
    Ok(place)
}

impl FromStr for Ignored {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let port = text.strip_prefix("port:").and_then(|port| port.parse::<u16>().ok()).filter(|port| *port != 0);
        match (port, text.parse::<IpAddr>()) {
            (Some(port), _) => Ok(Ignored::Port(port)),
            (None, Ok(source)) => Ok(Ignored::Source(source)),
            (None, Err(_)) => wrong(
                format!("`{text}` is neither an address nor a port"),
                "write a source address such as `10.0.0.9`, or a container port such as `port:9100`",
            ),
        }
    }
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ignored::Source(source) => source.fmt(f),
            Ignored::Port(port) => write!(f, "port:{port}"),
        }
    }
}

/// [`AutoStart`] as it is written: `09:00`, `never`, or `{ at = "09:00", days = ["mon"] }`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AutoStartText {
    Short(String),
    Table { at: String, days: Vec<Day> },
}

impl TryFrom<AutoStartText> for AutoStart {
    type Error = QuantityError;

    fn try_from(text: AutoStartText) -> Result<Self, QuantityError> {
        match text {
            AutoStartText::Short(text) => text.parse(),
            AutoStartText::Table { at, days } => {
                Ok(AutoStart::At { time: time(&at)?, days: Some(days.into_iter().collect()) })
            }
        }
    }
}

impl From<AutoStart> for AutoStartText {
    fn from(auto_start: AutoStart) -> Self {
        match auto_start {
            AutoStart::Never => AutoStartText::Short("never".to_owned()),
            AutoStart::At { time, days: None } => AutoStartText::Short(clock(time)),
            AutoStart::At { time, days: Some(days) } => {
                AutoStartText::Table { at: clock(time), days: days.into_iter().collect() }
            }
        }
    }
}

/// Reads the short form: a time of day or `never`.
impl FromStr for AutoStart {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        if text == "never" {
            return Ok(AutoStart::Never);
        }
        match time(text) {
            Ok(time) => Ok(AutoStart::At { time, days: None }),
            Err(error) => wrong(error.message, format!("{}, or `never`", error.hint)),
        }
    }
}

impl fmt::Display for AutoStart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AutoStart::Never => f.write_str("never"),
            AutoStart::At { time, days: None } => f.write_str(&clock(*time)),
            AutoStart::At { time, days: Some(days) } => {
                let days: Vec<String> = days.iter().map(Day::to_string).collect();
                write!(f, "{} on {}", clock(*time), days.join(" "))
            }
        }
    }
}

fn clock(time: Time) -> String {
    format!("{:02}:{:02}", time.hour(), time.minute())
}

impl<T: fmt::Display> fmt::Display for Sourced<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

crate::model::text_conversions!(Limit Day);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c2a_limits_are_durations_or_never() {
        assert_eq!("never".parse::<Limit>().unwrap(), Limit::Never);
        assert_eq!("2h".parse::<Limit>().unwrap().to_string(), "2h");
        assert!("0s".parse::<Limit>().is_err());
        assert!("Never".parse::<Limit>().unwrap_err().hint.contains("`never`"));
    }

    #[test]
    fn c2_times_days_dates_and_zones() {
        for bad in ["8:30", "24:00", "08:60", "08:30:00", "8am", "08.30", "+8:30"] {
            assert!(time(bad).is_err(), "{bad}");
        }
        assert_eq!(clock(time("08:30").unwrap()), "08:30");
        assert_eq!("Monday".parse::<Day>().unwrap_err().hint, "did you mean `mon`?");
        assert_eq!(Day::all().iter().map(Day::to_string).collect::<Vec<_>>(), DAYS);
        assert!(date("2026-02-29").is_err());
        assert!(date("2026-12-25").is_ok());
        assert_eq!(zone("Europe/Berlin").unwrap().name, "Europe/Berlin");
        assert_eq!(zone("Europe/Berln").unwrap_err().hint, "did you mean `Europe/Berlin`?");
        assert_eq!(zone("Berlin").unwrap_err().hint, "did you mean `Europe/Berlin`?");
        for bad in ["", "+01:00", "../etc/passwd", "Mars/Olympus"] {
            assert!(zone(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn repositories_are_not_options_and_run_nothing() {
        for good in ["git@git.acme.example:a/b.git", "https://h/a", "ssh://git@[::1]:2222/srv/a.git", "/srv/git/a.git"]
        {
            assert!(repository(good).is_ok(), "{good}");
        }
        for bad in ["", "-x", "--upload-pack=x", "ext::sh", "fd::7", "a b", "a\nb"] {
            assert!(repository(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn auto_start_in_json_is_as_written() {
        for json in [r#""never""#, r#""09:00""#, r#"{"at":"09:00","days":["mon","sun"]}"#] {
            let auto_start: AutoStart = serde_json::from_str(json).unwrap();
            assert_eq!(serde_json::to_string(&auto_start).unwrap(), json);
        }
        assert!(serde_json::from_str::<AutoStart>(r#""9""#).is_err());
    }

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        assert_eq!(nearest("auto_of", ["auto_off", "auto_start"]), Some("auto_off"));
        assert_eq!(nearest("colour", ["auto_off", "image"]), None);
        assert_eq!("sometimes".parse::<Pull>().unwrap_err().hint, "write one of `always`, `missing`, `never`");
    }
}
