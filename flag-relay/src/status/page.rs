//! The status page: what is served, to whom, and how the source stands.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use askama::Template;
use axum::{Router, extract::State, http::StatusCode, response::Response, routing::get};
use common::{
    daemon::VERSION,
    door::Door,
    pages::{Frame, render},
    visible::short,
};

use crate::{
    api::{Api, now},
    source::standing::{ConfigState, StreamState},
};

/// What a page shows of each kind.
const MOST_ROWS: usize = 200;
/// The longest text that is shown.
const MOST_TEXT: usize = 300;

#[derive(Template)]
#[template(path = "status.html")]
struct Page {
    frame: Frame,
    version: &'static str,
    config: &'static str,
    config_since: String,
    read: String,
    hears: bool,
    problems: Vec<(String, String)>,
    environments: Vec<Environment>,
    left_out: usize,
    sdks: Vec<Sdk>,
    uses: Vec<Use>,
}

struct Environment {
    name: String,
    id: String,
    flags: usize,
    groups: usize,
    keys: usize,
    streams: u64,
}

struct Sdk {
    language: String,
    version: String,
    kind: String,
    streams: u64,
}

struct Use {
    flag: String,
    environment: String,
    languages: String,
    evaluations: u64,
}

/// The page, behind this door.
pub(super) fn router(api: Arc<Api>, door: Door) -> Router {
    Router::new().route("/", get(page)).with_state((api, door))
}

async fn page(State((api, door)): State<(Arc<Api>, Door)>) -> Response {
    render(StatusCode::OK, &make(&api, door.frame("status")))
}

fn make(api: &Api, frame: Frame) -> Page {
    let (state, now_ms) = (api.standing.now(), u64::try_from(now().as_millis()).unwrap_or(u64::MAX));
    let ago = |ms: u64| format!("{} s ago", now_ms.saturating_sub(ms) / 1000);
    let (mut streams, mut by_sdk): (BTreeMap<Arc<str>, u64>, BTreeMap<_, u64>) = Default::default();
    for ((environment, sdk), count) in api.roster.count(&api.seen) {
        *streams.entry(environment).or_default() += count;
        *by_sdk.entry(sdk).or_default() += count;
    }
    let world = api.store.world();
    let mut environments: Vec<_> = world.environments.values().collect();
    environments.sort_by(|one, other| one.name.cmp(&other.name).then_with(|| one.id.cmp(&other.id)));
    let problems = state.problems.into_iter().flat_map(|(place, told)| {
        told.into_iter().map(move |text| (shown(&place), shown(&text))).collect::<Vec<_>>()
    });
    Page {
        frame,
        version: VERSION,
        config: match state.config.state {
            ConfigState::Synced => "What is served is what the source has",
            ConfigState::FailedToSync => "What is served may be older than what the source has",
            ConfigState::ReadReplica => "A primary writes what is served",
        },
        config_since: ago(state.config.since),
        read: if state.read_ms == 0 { String::new() } else { ago(state.read_ms) },
        hears: state.stream.state == StreamState::Connected,
        problems: problems.take(MOST_ROWS).collect(),
        left_out: environments.len().saturating_sub(MOST_ROWS),
        environments: environments
            .iter()
            .take(MOST_ROWS)
            .map(|environment| Environment {
                name: shown(&environment.name),
                id: shown(&environment.id),
                flags: environment.rules.flags().len(),
                groups: environment.rules.groups.len(),
                keys: environment.keys.len(),
                streams: streams.get(&environment.id).copied().unwrap_or_default(),
            })
            .collect(),
        sdks: by_sdk
            .into_iter()
            .take(MOST_ROWS)
            .map(|(sdk, streams)| Sdk {
                language: sdk.language,
                version: sdk.version,
                kind: sdk.kind,
                streams,
            })
            .collect(),
        uses: uses(api),
    }
}

fn uses(api: &Api) -> Vec<Use> {
    let mut flags: BTreeMap<_, (u64, BTreeSet<String>)> = BTreeMap::new();
    for (used, count) in api.usage.all() {
        let (evaluations, languages) = flags.entry((used.environment, used.flag)).or_default();
        *evaluations = evaluations.saturating_add(count.evaluations);
        languages.insert(shown(&used.language));
    }
    let mut uses = Vec::new();
    for ((environment, flag), (evaluations, languages)) in flags {
        let languages = languages.into_iter().collect::<Vec<_>>().join(", ");
        uses.push(Use { flag: shown(&flag), environment: shown(&environment), languages, evaluations });
    }
    uses.sort_by_key(|used| std::cmp::Reverse(used.evaluations));
    uses.truncate(20);
    uses
}

/// Texts of others, in which nothing hides.
fn shown(text: &str) -> String {
    short(text.as_bytes(), MOST_TEXT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_shows_texts_of_others_as_texts() {
        let row = Environment {
            name: shown("<b>\u{202e}x"),
            id: "e".to_owned(),
            flags: 1,
            groups: 0,
            keys: 1,
            streams: 7,
        };
        let page = Page {
            frame: Frame { at: "status", house: &crate::status::HOUSE, whose: None, sign_out: None },
            version: "v1",
            config: "well",
            config_since: "1 s ago".to_owned(),
            read: String::new(),
            hears: true,
            problems: vec![("a.yaml".to_owned(), "<script>".to_owned())],
            environments: vec![row],
            left_out: 3,
            sdks: Vec::new(),
            uses: Vec::new(),
        };
        let text = page.render().unwrap();
        assert!(text.contains("⟨U+202E⟩x") && !text.contains("<b>") && !text.contains("<script>"), "{text}");
        assert!(text.contains("And 3 more") && text.contains("No stream is open."));
    }
}
