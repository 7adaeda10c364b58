//! What older relays could be told, and what is told instead: silence would let a wish go unheard.

use common::config::Settings;

/// Variables that nothing reads any more.
const VARIABLES: [(&str, &str); 9] = [
    ("ACCOUNT_IDENTIFIER", "the proxy key says it; set PROXY_KEY"),
    ("ADMIN_SERVICE", "it is not asked any more; set PROXY_KEY"),
    ("ADMIN_SERVICE_TOKEN", "it is not asked any more; set PROXY_KEY"),
    ("ORG_IDENTIFIER", "the proxy key says it; set PROXY_KEY"),
    ("API_KEYS", "the proxy key, or the folder of OFFLINE, says which SDK keys there are"),
    ("FLAG_STREAM_ENABLED", "changes are always streamed"),
    ("FLAG_POLL_INTERVAL", "changes are streamed, and asked for only while the stream is down"),
    ("TARGET_POLL_DURATION", "targets are not asked for any more"),
    ("METRICS_SERVICE", "the name is METRIC_SERVICE"),
];

/// What to say of those that are set.
pub(super) fn variables(is_set: impl Fn(&str) -> bool) -> Vec<String> {
    let set = VARIABLES.iter().filter(|(name, _)| is_set(name));
    set.map(|(name, instead)| format!("{name} is not read any more: {instead}")).collect()
}

/// Settings of which only one value is left.
pub(super) fn settings(settings: &mut Settings) {
    if !settings.flag("and_rules") {
        settings.refuse("and_rules", "leave it out: a rule with several clauses holds when all of them do");
    }
    for key in ["pprof", "gcp_profiler_enabled"] {
        if settings.flag(key) {
            settings.refuse(key, "leave it out: there is no Go profiler in this relay");
        }
    }
    if settings.flag("generate_offline_config") {
        settings.refuse("generate_offline_config", "leave it out: `flag-relay export` writes the folder");
    }
}

#[cfg(test)]
mod tests {
    use super::variables;

    #[test]
    fn what_nobody_reads_is_told_with_what_replaced_it() {
        let told = variables(|name| name == "METRICS_SERVICE" || name == "API_KEYS");
        assert_eq!(told.len(), 2);
        assert_eq!(told[1], "METRICS_SERVICE is not read any more: the name is METRIC_SERVICE");
        assert!(variables(|_| false).is_empty());
    }
}
