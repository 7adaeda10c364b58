//! Pure. Understands `stackstate.conf` and `datadog.conf`: lines of `key: value` or `key = value` below `[Main]`.

use std::fmt::Write as _;

/// What a key of theirs is here.
enum Meaning {
    /// The same, as text.
    Text,
    /// The same, as yes or no.
    Flag,
    /// The same, as a number.
    Number,
    /// The same, as a list with commas between.
    List,
    /// Nothing; and why.
    None(&'static str),
}

fn meaning(key: &str) -> Meaning {
    match key {
        "dd_url" | "api_key" => Meaning::List,
        "bind_host" | "proxy_host" | "proxy_user" | "proxy_password" | "ca_certs" => Meaning::Text,
        "non_local_traffic" | "skip_ssl_validation" => Meaning::Flag,
        "listen_port" | "proxy_port" | "forwarder_timeout" => Meaning::Number,
        "hostname" | "tags" | "collect_ec2_tags" | "check_freq" | "checksd_path" | "additional_checksd" => {
            Meaning::None("it is about the agent on that host, not about relaying")
        }
        "dogstatsd_port" | "statsd_forward_host" | "statsd_forward_port" | "use_dogstatsd" => {
            Meaning::None("the relay takes no statsd")
        }
        "use_curl_http_client"
        | "use_simple_http_client"
        | "proxy_forbid_method_switch"
        | "allow_ipv6"
        | "dns_caching"
        | "dns_ttl"
        | "watchdog_multiplier"
        | "http_emitter_timeout" => Meaning::None("it works around something that is not so here"),
        "log_level" | "log_to_syslog" | "syslog_host" | "syslog_port" | "forwarder_log_file" => {
            Meaning::None("logs go to stderr; see --log-level")
        }
        "use_web_info_page" => Meaning::None("the stats are on port 3835; see stats_addr"),
        "custom_emitters" => Meaning::None("a body is never decoded here"),
        "graphite_listen_port" => Meaning::None("the relay takes no Graphite"),
        _ => Meaning::None("not known here"),
    }
}

/// Whether a value stands for yes, as their code reads it.
fn is_yes(value: &str) -> bool {
    matches!(value.to_ascii_lowercase().as_str(), "yes" | "true" | "1" | "on")
}

pub(super) fn quoted(value: &str) -> String {
    toml::Value::String(value.to_owned()).to_string()
}

/// What can stand in a comment: TOML allows no control characters there.
pub(super) fn plain(text: &str) -> String {
    text.replace(char::is_control, "?")
}

/// The TOML that says the same, with a comment for each line that has no meaning here.
pub(super) fn import(conf: &str) -> String {
    let mut toml = String::from("# Made by `agent-relay import`.\n");
    let mut said = Vec::new();
    let mut is_main = true;
    for (number, line) in (1..).zip(conf.lines()) {
        let line = line.trim();
        if line.starts_with('[') {
            is_main = line.eq_ignore_ascii_case("[main]");
            if !is_main {
                writeln!(
                    toml,
                    "# line {number}: {} and what is below it are left out: only [Main] is read",
                    plain(line)
                )
                .ok();
            }
        }
        if !is_main || line.is_empty() || line.starts_with(['#', ';', '[']) {
            continue;
        }
        let Some(at) = line.find([':', '=']) else {
            // Writing to a text cannot fail, here and below.
            writeln!(toml, "# line {number}: no key and value in it").ok();
            continue;
        };
        let (key, value) = line.split_at(at);
        let key = plain(&key.trim().to_ascii_lowercase());
        let value = value.get(1..).unwrap_or_default().trim();
        let told = match meaning(&key) {
            _ if said.contains(&key) => format!("# line {number}: {key} was told before"),
            Meaning::None(why) => format!("# line {number}: {key} is left out: {why}"),
            _ if value.is_empty() => format!("# line {number}: {key} is empty"),
            Meaning::Text => format!("{key} = {}", quoted(value)),
            Meaning::Flag => format!("{key} = {}", is_yes(value)),
            Meaning::Number => match value.parse::<u32>() {
                Ok(value) => format!("{key} = {value}"),
                Err(_) => format!("# line {number}: {key} is left out: not a number"),
            },
            Meaning::List => {
                let parts: Vec<_> = value.split(',').map(|part| quoted(part.trim())).collect();
                if key == "dd_url" && parts.len() > 1 {
                    writeln!(
                        toml,
                        "# line {number}: each URL got a copy there; here they stand in for each other"
                    )
                    .ok();
                }
                format!("{key} = [{}]", parts.join(", "))
            }
        };
        if !told.starts_with('#') {
            said.push(key);
        }
        writeln!(toml, "{told}").ok();
    }
    toml
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_file_says_the_same_here() {
        let conf = "[Main]\n# a comment\ndd_url: http://localhost:7070/stsAgent/\n  api_key = none\n\
                    non_local_traffic: yes\nproxy_host: squid\nproxy_port: 3128\nproxy_user: my_user\n\
                    proxy_password: my\"pass\nskip_ssl_validation: no\nhostname: web-1\nnonsense\nlisten_port: x\n\
                    dd_url: https://other\n[trace.config]\nlog_level: x\n[Main]\nbind_host: 10.0.0.1\n";
        let toml = import(conf);
        for line in [
            "dd_url = [\"http://localhost:7070/stsAgent/\"]",
            "api_key = [\"none\"]",
            "non_local_traffic = true",
            "proxy_port = 3128",
            "skip_ssl_validation = false",
            "# line 11: hostname is left out: it is about the agent on that host, not about relaying",
            "# line 12: no key and value in it",
            "# line 13: listen_port is left out: not a number",
            "# line 14: dd_url was told before",
            "# line 15: [trace.config] and what is below it are left out: only [Main] is read",
            "bind_host = \"10.0.0.1\"",
        ] {
            assert!(toml.lines().any(|told| told == line), "{line:?} in\n{toml}");
        }
        let table: toml::Table = toml::from_str(&toml).unwrap();
        assert_eq!(table["proxy_password"].as_str(), Some("my\"pass"));
    }

    proptest::proptest! {
        #[test]
        fn whatever_it_is_it_becomes_toml_that_can_be_read(conf in "([a-z_\\x01\\[]{0,20}[:= ][ -~\\x00-\\x1f\\x7f]{0,20}\n){0,8}") {
            toml::from_str::<toml::Table>(&import(&conf)).unwrap();
        }
    }
}
