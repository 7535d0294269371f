//! Asking before something is lost: the name has to be typed again, or `--yes` given.

use std::io::{self, BufRead};

use super::Context;
use super::error::{Error, Kind, Result};

/// Has the person type `name` after reading what happens.
pub(crate) fn by_name(context: &Context, what: &str, name: &str) -> Result<()> {
    context.out.say_raw(format_args!("{what}\nType {name} to go on: "));
    let mut line = String::new();
    if io::stdin().lock().read_line(&mut line)? == 0 {
        context.out.say_raw("\n");
        return Err(Error::new(Kind::Usage, "nobody answered: nothing was changed").hint("scripts give --yes"));
    }
    if line.trim() == name {
        return Ok(());
    }
    Err(Error::new(Kind::Failed, format!("that is not `{name}`: nothing was changed")))
}
