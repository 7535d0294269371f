//! `hearth away` (rule S4)

use jiff::civil::Date;

use crate::api::wire::Away;
use crate::cli::Context;
use crate::cli::client::Patience;
use crate::cli::error::Result;
use crate::cli::target::person;
use crate::config::text;
use crate::model::UserName;

/// Pause your auto-starts while you are away
///
/// With neither --until nor --back, say whether somebody is away.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Who is away; you if it is left out
    #[arg(value_name = "USER")]
    user: Option<UserName>,
    /// Day on which you are back, such as 2027-01-07
    #[arg(long, value_name = "DATE", value_parser = day, conflicts_with = "back")]
    until: Option<Date>,
    /// Be back at once
    #[arg(long)]
    back: bool,
}

fn day(text: &str) -> Result<Date, String> {
    text::date(text).map_err(|error| format!("{}: {}", error.message, error.hint))
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let client = context.client()?;
        let user = person(self.user, &client, "hearth away USER").await?;
        let path = format!("/v1/users/{user}/away");
        let away: Away = match (self.until, self.back) {
            (None, false) => client.get(&path).await?,
            (until, _) => client.post(&path, &Away { until }, Patience::Short).await?,
        };
        context.out.print_as(&away, |away| match away.until {
            Some(until) => format!("{user} is away until {until}: no auto-start before that day\n"),
            None => format!("{user} is not away\n"),
        })
    }
}
