//! The network of an org: its own, isolated if the org says so (rule X2).

use super::Tools;
use super::run::Broken;
use crate::config::Settings;
use crate::config::settings::Org;
use crate::docker::{Network, NetworkSpec, labels};
use crate::model::{Hook, Warning, WarningKind};

/// Looks at the org's network, made here if it is missing, for that may fail; `Some` warns that it is not as
/// configured and cannot be changed while it is used.
pub(super) async fn check(tools: &Tools, org: &Org) -> Result<Option<Warning>, Broken> {
    let spec = spec(tools, org);
    let Some(network) = tools.engine.network(&spec.name).await? else {
        ensure(tools, org).await?;
        return Ok(None);
    };
    if !labels::is_our_network(&network, &tools.instance, &org.name) {
        return Err(Broken::Failed(format!(
            "network `{}` is there and is not ours. `docker network inspect {}` shows whose; remove it, or give \
             hearthd another `instance`",
            spec.name, spec.name
        )));
    }
    if fits(&network, &spec) || network.containers == 0 {
        return Ok(None);
    }
    let message = format!(
        "network `{}` is not as [orgs.{}] says (network_isolation, subnet); it is made anew when no workspace uses it",
        spec.name, org.name
    );
    Ok(Some(Warning { hook: Hook::Container, kind: WarningKind::Other, exit_code: None, message, tail: Vec::new() }))
}

/// Makes sure that the org's network is there; one that is not as configured and that nobody uses is made anew.
pub(super) async fn ensure(tools: &Tools, org: &Org) -> Result<String, Broken> {
    let spec = spec(tools, org);
    // Builds of one org begin together: one of them makes the network, the others find it.
    let _one_at_a_time = tools.networks.lock().await;
    match tools.engine.network(&spec.name).await? {
        Some(network) if fits(&network, &spec) || network.containers > 0 => return Ok(spec.name),
        Some(network) => tools.engine.remove_network(&network.id).await?,
        None => {}
    }
    tools.engine.create_network(&spec).await.map_err(|error| {
        let refused = Broken::from(error);
        match refused {
            Broken::Failed(why) => Broken::Failed(format!(
                "network `{}` cannot be made: {why}. About 30 networks fit the engine's own address pools: give the \
                 org a `subnet`, or remove networks that nobody uses",
                spec.name
            )),
            Broken::NoRoom(_) | Broken::Away(_) => refused,
        }
    })?;
    Ok(spec.name)
}

/// Removes the networks of orgs that are not declared any more, once nobody is attached.
pub async fn remove_unused(tools: &Tools, settings: &Settings) {
    let _one_at_a_time = tools.networks.lock().await;
    let networks = match tools.engine.networks(tools.instance.as_str()).await {
        Ok(networks) => networks,
        Err(error) => return tracing::warn!("cannot look for networks that nobody needs: {error}"),
    };
    for network in networks.iter().filter(|network| network.containers == 0) {
        let org = network.labels.get(labels::ORG).and_then(|org| org.parse().ok());
        let Some(org) = org.filter(|org| !settings.orgs.contains_key(org)) else { continue };
        if !labels::is_our_network(network, &tools.instance, &org) {
            continue;
        }
        match tools.engine.remove_network(&network.id).await {
            Ok(()) => tracing::info!("removed network `{}`: no org needs it", network.name),
            Err(error) => tracing::warn!("cannot remove network `{}`: {error}", network.name),
        }
    }
}

fn spec(tools: &Tools, org: &Org) -> NetworkSpec {
    NetworkSpec {
        name: labels::network_name(&tools.instance, &org.name),
        labels: labels::network_labels(&tools.instance, &org.name),
        subnet: org.subnet.map(|subnet| subnet.to_string()),
        icc: !org.network_isolation,
    }
}

fn fits(network: &Network, spec: &NetworkSpec) -> bool {
    network.icc == spec.icc && spec.subnet.as_ref().is_none_or(|subnet| network.subnets.contains(subnet))
}
