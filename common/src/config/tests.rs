//! What settings accept, and what they say when they do not.

use std::{io::Write as _, time::Duration};

use super::*;

static KNOWN: [Setting; 6] = [
    Setting { key: "listenURLs", value: "URL,…", help: "a list", default: Some("a, b") },
    Setting { key: "authToken", value: "SECRET", help: "a secret", default: None },
    Setting { key: "proxy_in_port", value: "PORT", help: "where to listen", default: Some("4143") },
    Setting { key: "app_label", value: "NAME", help: "the name of the application", default: None },
    Setting { key: "body_limit", value: "BYTES", help: "bytes kept", default: Some("1MiB") },
    Setting { key: "timeout", value: "TIME", help: "how long", default: Some("45s") },
];

fn settings(flags: &[&str], file: &str) -> Result<Settings, Error> {
    let command = with_settings(clap::Command::new("test"), &KNOWN);
    let matches = command.try_get_matches_from([&["test"], flags].concat()).unwrap();
    let mut path = tempfile::NamedTempFile::new().unwrap();
    path.write_all(file.as_bytes()).unwrap();
    Settings::read(&KNOWN, &matches, path.path(), true)
}

fn problems(settings: Settings) -> String {
    match settings.or_ok(()) {
        Ok(()) => String::new(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_flag_goes_before_the_file_before_the_default() {
    let mut both = settings(&["--proxy-in-port", "1"], "proxy_in_port = 2\nbody_limit = \"2KiB\"").unwrap();
    assert_eq!(both.port("proxy_in_port"), 1);
    assert_eq!(both.bytes("body_limit"), 2048);
    assert_eq!(both.duration("timeout"), Duration::from_secs(45));
    assert_eq!(problems(both), "");
}

#[test]
fn every_problem_is_told_at_once_with_its_place_and_its_mend() {
    let mut bad =
        settings(&["--proxy-in-port", "99999"], "applabel = 1\ntimeout = \"soon\"\nbody_limit = []").unwrap();
    bad.port("proxy_in_port");
    bad.required("app_label");
    bad.duration("timeout");
    bad.bytes("body_limit");
    let told = problems(bad);
    for part in [
        "--proxy-in-port is \"99999\": use a port from 1 to 65535",
        "did you mean app_label?",
        "APP_LABEL is required: the name of the application",
        "is \"soon\": use a length of time such as 45s",
        "must be one value",
    ] {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

#[test]
fn a_key_in_camel_case_has_a_flag_and_a_variable_like_any_other() {
    let check = |key, flag: &str, name: &str| {
        let setting = Setting::new(key, "", "", None);
        assert_eq!((setting.flag().as_str(), setting.variable().as_str()), (flag, name));
    };
    check("accessPointID", "access-point-id", "ACCESS_POINT_ID");
    check("apiURL", "api-url", "API_URL");
    check("proxyPort", "proxy-port", "PROXY_PORT");
    check("proxy_in_port", "proxy-in-port", "PROXY_IN_PORT");
}

#[test]
fn a_list_is_a_list_in_the_file_and_has_commas_elsewhere() {
    let list = |flags: &[&str], file| settings(flags, file).unwrap().list("listenURLs");
    assert_eq!(list(&[], ""), ["a", "b"]);
    assert_eq!(list(&[], "listenURLs = [\"c\", \"d\"]"), ["c", "d"]);
    assert_eq!(list(&[], "listenURLs = \"c,d\""), ["c", "d"]);
    assert_eq!(list(&[], "listenURLs = []"), [""; 0]);
    assert_eq!(list(&["--listen-urls", "e"], "listenURLs = [\"c\"]"), ["e"]);
    let bad = settings(&[], "listenURLs = [[]]").unwrap();
    assert!(problems(bad).contains("must be a list of texts"));
}

#[test]
fn what_stands_beside_the_settings_is_taken_or_told() {
    let mut beside = settings(&[], "[plug.a]\nx = 1\n[[plugs]]\ny = 2").unwrap();
    assert_eq!(beside.take("plugs").unwrap().as_array().unwrap().len(), 1);
    assert_eq!(beside.take("nothing"), None);
    let told = problems(beside);
    assert!(told.contains("plug in ") && told.contains("did you mean plugs?"), "{told}");
}

#[test]
fn a_secret_in_a_broken_line_is_not_shown() {
    let Err(error) = settings(&[], "log = 1\nauthToken = \"hunter2\nx = 1") else { panic!("accepted") };
    let told = format!("{error} {error:?}");
    assert!(told.contains("line 2") && !told.contains("hunter2"), "{told}");
}

#[test]
fn an_empty_value_is_not_set() {
    let mut empty = settings(&["--app-label", ""], "app_label = \"\"").unwrap();
    empty.required("app_label");
    assert!(problems(empty).contains("APP_LABEL is required"));
}

#[test]
fn what_is_missing_names_what_was_left_at_its_default() {
    let mut missing = settings(&[], "").unwrap();
    missing.required("app_label");
    assert!(problems(missing).contains("PROXY_IN_PORT=4143"));
}

#[test]
fn a_file_that_is_not_toml_is_told_with_its_line() {
    let Err(error) = settings(&[], "a = = b") else { panic!("accepted") };
    assert!(error.to_string().contains("line 1"), "{error}");
}

#[test]
fn sizes_addresses_and_flags_have_the_usual_spellings() {
    fn check<T: FromStr>(text: &str) -> Option<T> {
        text.parse().ok()
    }
    assert_eq!(check::<Size>("64MiB").unwrap().0, 64 << 20);
    assert_eq!(check::<Size>("10 GB").unwrap().0, 10_000_000_000);
    assert!(check::<Size>("18446744073709551615k").is_none());
    assert!(check::<Size>("MiB").is_none());
    assert_eq!(check::<Address>(":8889").unwrap().0, "127.0.0.1:8889".parse().unwrap());
    assert_eq!(check::<Address>("[::]:1").unwrap().0, "[::]:1".parse().unwrap());
    assert!(check::<Address>("localhost").is_none());
    assert!(check::<Flag>("Yes").unwrap().0);
    assert!(check::<Flag>("maybe").is_none());
}

#[test]
fn a_secret_does_not_print_and_compares_whole() {
    let secret = Secret::from("hunter2");
    assert_eq!(format!("{secret:?}"), "Secret(…)");
    assert!(secret.matches(b"hunter2"));
    assert!(!secret.matches(b"hunter"));
    assert!(!secret.matches(b"hunter3"));
}
