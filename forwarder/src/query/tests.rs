//! Queries against a plain look at every row.

use std::path::Path;

use fastrand::Rng;

use super::filter::{PathPattern, parse_status};
use super::*;
use crate::query::pairs::TIME_BUDGET;
use crate::store::row::Row;
use crate::store::samples::{self, registration, request};
use crate::store::{Options, Store};

async fn store(folder: &Path) -> (Store, Vec<Row>) {
    let options = Options { data_dir: folder.to_owned(), cluster: "test".into(), ..Options::default() };
    let store = Store::open(options).unwrap();
    let mut rows = Vec::new();
    // Two proxies whose times interleave, three segments, and three blocks that are not sealed, two of one time.
    for proxy in ["a", "b"] {
        store.register(registration(proxy, 1)).await.unwrap();
    }
    for part in 0..5 {
        for proxy in ["a", "b"] {
            store.append(request(proxy, 1, part * 300 + 1..=part * 300 + 300)).await.unwrap();
            rows.extend(samples::rows(proxy, 1, part * 300 + 1..=part * 300 + 300));
            if part == 3 {
                store.roll().await.unwrap();
            }
        }
        if part < 3 {
            store.roll().await.unwrap();
            assert!(store.seal_next(&mut |_| Ok(())).await.unwrap());
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse((row.ts_ns, row.uuid)));
    assert_eq!(store.snapshot().blocks.len(), 3);
    (store, rows)
}

fn random_filter(random: &mut Rng, rows: &[Row]) -> Filter {
    let row = random.choice(rows).unwrap().clone();
    let maybe = |random: &mut Rng| random.u8(..4) == 0;
    let path = row.path.clone().unwrap();
    let pattern =
        [path.clone(), "/api/users".into(), "/api/*/1*".into(), format!("*{}", path.chars().last().unwrap())];
    let status = ["200", "5xx", "400-499", ">=500"];
    Filter {
        since_ns: maybe(random).then_some(row.ts_ns),
        until_ns: maybe(random).then(|| rows[random.usize(..rows.len())].ts_ns),
        service: maybe(random).then(|| row.service.clone()),
        instance: maybe(random).then(|| row.instance.clone()),
        protocol: maybe(random).then(|| random.choice(["http", "tcp"]).unwrap().to_owned()),
        method: maybe(random).then(|| row.method.clone().unwrap()),
        path: maybe(random).then(|| PathPattern::new(random.choice(pattern).unwrap())),
        status: maybe(random).then(|| parse_status(random.choice(status).unwrap()).unwrap()),
        min_duration_ns: maybe(random).then_some(row.duration_ns),
        text: maybe(random)
            .then(|| random.choice(["article 5", "\"total\":1", "nginx", "nowhere"]).unwrap().into()),
    }
}

/// The filter, told once more and plainly.
fn fits(filter: &Filter, row: &Row) -> bool {
    let text = |text: &String| {
        let response = row.response.as_ref();
        let parts = [Some(&row.request), response].into_iter().flatten();
        parts
            .flat_map(|side| [&side.head, &side.body])
            .any(|part| String::from_utf8_lossy(part).contains(text))
    };
    filter.since_ns.is_none_or(|since| row.ts_ns >= since)
        && filter.until_ns.is_none_or(|until| row.ts_ns < until)
        && filter.service.as_ref().is_none_or(|service| row.service == *service)
        && filter.instance.as_ref().is_none_or(|instance| row.instance == *instance)
        && filter.protocol.as_ref().is_none_or(|protocol| row.protocol == *protocol)
        && filter.method.as_ref().is_none_or(|method| row.method.as_ref() == Some(method))
        && filter.path.as_ref().is_none_or(|path| path.fits(row.path.as_ref().unwrap()))
        && filter.status.as_ref().is_none_or(|status| status.contains(&row.status.unwrap()))
        && filter.min_duration_ns.is_none_or(|least| row.duration_ns >= least)
        && filter.text.as_ref().is_none_or(text)
}

#[tokio::test]
async fn pages_in_a_row_are_what_a_plain_look_finds_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (store, rows) = store(folder.path()).await;
    let query = Query::live(store);
    let mut random = Rng::with_seed(5);
    let mut some = 0;
    for round in 0..60 {
        let filter = if round == 0 { Filter::default() } else { random_filter(&mut random, &rows) };
        let expected: Vec<_> = rows.iter().filter(|row| fits(&filter, row)).collect();
        some += usize::from(!expected.is_empty());
        let limit = random.usize(1..400);
        let mut found = Vec::new();
        let mut cursor = None;
        loop {
            let page = query.pairs(&filter, limit, cursor, TIME_BUDGET).await.unwrap();
            assert!(page.complete);
            assert!(page.rows.len() == limit || page.next.is_none());
            found.extend(page.rows);
            let Some(next) = page.next else { break };
            cursor = Some(Cursor::parse(&next.to_string()).unwrap());
        }
        assert_eq!(
            found.iter().map(|row| row.uuid).collect::<Vec<_>>(),
            expected.iter().map(|row| row.uuid).collect::<Vec<_>>(),
            "{filter:?} {limit}"
        );
        assert!(found.iter().eq(expected), "{filter:?}");
    }
    assert!(some > 20, "{some}");
}

#[tokio::test]
async fn a_page_without_time_says_how_far_it_came_and_the_next_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (store, rows) = store(folder.path()).await;
    let query = Query::live(store);
    let filter = Filter { text: Some("nginx".into()), ..Filter::default() };
    let (mut found, mut cursor, mut incomplete) = (Vec::new(), None, 0);
    loop {
        let page = query.pairs(&filter, 1000, cursor, std::time::Duration::ZERO).await.unwrap();
        incomplete += usize::from(!page.complete);
        found.extend(page.rows.into_iter().map(|row| row.uuid));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(found, rows.iter().map(|row| row.uuid).collect::<Vec<_>>());
    assert!(incomplete > 0);
}

#[tokio::test]
async fn what_is_stored_between_two_pages_moves_neither() {
    let folder = tempfile::tempdir().unwrap();
    let (store, rows) = store(folder.path()).await;
    let query = Query::live(store.clone());
    let first = query.pairs(&Filter::default(), 100, None, TIME_BUDGET).await.unwrap();
    store.append(request("a", 1, 1501..=1600)).await.unwrap();
    store.roll().await.unwrap();
    while store.seal_next(&mut |_| Ok(())).await.unwrap() {}
    let second = query.pairs(&Filter::default(), 100, first.next, TIME_BUDGET).await.unwrap();
    let found: Vec<_> = first.rows.iter().chain(&second.rows).map(|row| row.uuid).collect();
    assert_eq!(found, rows[..200].iter().map(|row| row.uuid).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_newest_page_makes_no_rows_of_what_is_older_and_what_was_made_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (store, rows) = store(folder.path()).await;
    let query = Query::live(store.clone());
    let made = || store.snapshot().blocks.iter().map(|block| block.is_made()).collect::<Vec<_>>();
    query.pairs(&Filter::default(), 10, None, TIME_BUDGET).await.unwrap();
    query.pair(rows[700].uuid).await.unwrap().unwrap();
    assert_eq!(made(), [false; 3]);
    query.pairs(&Filter::default(), 700, None, TIME_BUDGET).await.unwrap();
    // The last one is not full yet, and made anew for each query.
    assert_eq!(made(), [true, true, false]);
}

#[tokio::test]
async fn an_exchange_is_found_by_its_uuid_wherever_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let (store, rows) = store(folder.path()).await;
    let query = Query::live(store);
    for row in rows.iter().step_by(97) {
        assert_eq!(query.pair(row.uuid).await.unwrap().as_ref(), Some(row));
    }
    assert_eq!(query.pair(crate::store::identity::Uuid(5)).await.unwrap(), None);
}

#[tokio::test]
async fn a_segment_that_turns_out_damaged_is_put_aside_and_the_rest_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let (store, rows) = store(folder.path()).await;
    let segments = store.snapshot().segments;
    let path = |number: usize| folder.path().join("segments").join(&segments[number].path);
    std::fs::remove_file(path(0)).unwrap();
    let whole = std::fs::read(path(1)).unwrap();
    let mut damaged = whole.clone();
    damaged[4..whole.len() / 2].fill(0xa5);
    std::fs::write(path(1), damaged).unwrap();
    let query = Query::live(store.clone());
    let page = query.pairs(&Filter::default(), 1000, None, TIME_BUDGET).await.unwrap();
    assert_eq!(page.rows.len(), 1000);
    let page = query.pairs(&Filter::default(), 1000, page.next, TIME_BUDGET).await.unwrap();
    assert_eq!(page.rows.len() + 1000, rows.len() - 1200);
    assert_eq!((store.counters().quarantined_files, store.counters().damaged_rows), (2, 1200));
    assert_eq!(std::fs::read_dir(folder.path().join("quarantine")).unwrap().count(), 1);
}

async fn sql(query: &Query, text: &str) -> Result<sql::Answer, Error> {
    query.sql(text, sql::Limits::default()).await
}

#[tokio::test]
async fn sql_sees_sealed_and_unsealed_alike() {
    let folder = tempfile::tempdir().unwrap();
    let (store, rows) = store(folder.path()).await;
    let query = Query::live(store);
    let answer = sql(&query, "select count(*) as n, max(ts) as t from exchanges").await.unwrap();
    assert_eq!(answer.rows[0]["n"], rows.len());
    let wanted = |row: &&Row| row.status == Some(404) && row.instance == "a";
    let text = "with a as (select * from exchanges where instance = 'a') select uuid from a where status = 404 order by ts desc";
    let answer = sql(&query, text).await.unwrap();
    let found: Vec<_> = answer.rows.iter().map(|row| row["uuid"].as_str().unwrap().to_owned()).collect();
    assert_eq!(found, rows.iter().filter(wanted).map(|row| row.uuid.to_string()).collect::<Vec<_>>());
    let middle = jiff::Timestamp::from_nanosecond(i128::from(rows[1000].ts_ns)).unwrap();
    let answer =
        sql(&query, &format!("select count(*) as n from exchanges where ts > '{middle}'")).await.unwrap();
    assert_eq!(answer.rows[0]["n"], 1000);
    let answer = sql(&query, "select * from exchanges").await.unwrap();
    assert_eq!((answer.columns.len(), answer.rows.len()), (crate::store::schema::COLUMNS.len(), 3000));
    let few = sql::Limits { rows: 5, ..sql::Limits::default() };
    let answer = query.sql("select uuid from exchanges", few).await.unwrap();
    assert_eq!((answer.rows.len(), answer.truncated), (5, true));
    for fine in ["explain select 1", "show tables", "describe exchanges", "select 1", "values (1)"] {
        sql(&query, fine).await.unwrap();
    }
}

#[tokio::test]
async fn sql_that_does_more_than_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = store(folder.path()).await;
    let query = Query::live(store.clone());
    std::fs::write(folder.path().join("some.csv"), "a\n1\n").unwrap();
    let csv = folder.path().join("some.csv").display().to_string();
    let out = folder.path().join("out.csv").display().to_string();
    let refused = [
        "insert into exchanges select * from exchanges".to_owned(),
        "delete from exchanges".to_owned(),
        "update exchanges set path = 'x'".to_owned(),
        "drop table exchanges".to_owned(),
        "create table a as select 1".to_owned(),
        "create view a as select 1".to_owned(),
        format!("create external table a stored as csv location '{csv}'"),
        format!("copy exchanges to '{out}'"),
        format!("copy (select 1) to '{out}' stored as csv"),
        format!("explain copy exchanges to '{out}'"),
        format!("explain analyze copy exchanges to '{out}'"),
        "set datafusion.execution.batch_size = 1".to_owned(),
        "prepare a as select 1".to_owned(),
        "begin".to_owned(),
        "select 1; select 2".to_owned(),
        format!("select * from '{csv}'"),
        "select * from 'http://127.0.0.1/a.parquet'".to_owned(),
        format!("select * from read_csv('{csv}')"),
        "select * from nothing".to_owned(),
        "selec".to_owned(),
        String::new(),
        "x".repeat(20_000),
    ];
    for text in refused {
        let answer = sql(&query, &text).await;
        assert!(matches!(answer, Err(Error::Refused(_))), "{text}: {answer:?}");
    }
    assert!(!Path::new(&out).exists());
    assert_eq!(sql(&query, "select count(*) as n from exchanges").await.unwrap().rows[0]["n"], 3000);
}

#[tokio::test]
async fn sql_that_is_nested_deep_overflows_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = store(folder.path()).await;
    let query = Query::live(store);
    let few = sql::Limits { time: std::time::Duration::from_secs(3), ..sql::Limits::default() };
    for text in [
        format!("select {}1{}", "(".repeat(7000), ")".repeat(7000)),
        format!("select 1{}", "+1".repeat(7000)),
        format!("select {}1", "- ".repeat(7000)),
        format!("select {} true", "not ".repeat(3500)),
        format!("select 1 where true{}", " or true".repeat(1900)),
        format!("select * from {}exchanges{}", "(select * from ".repeat(900), ")".repeat(900)),
        "select 1 ".to_owned() + &" union all select 1".repeat(800),
        format!("select {}1{}", "case when true then ".repeat(600), " end".repeat(600)),
    ] {
        // Whether it is answered is a matter of taste; that the process lives is not.
        drop(query.sql(&text, few).await);
    }
    assert_eq!(sql(&query, "select 1 as a").await.unwrap().rows[0]["a"], 1);
}

#[tokio::test]
async fn sql_that_takes_too_long_or_too_much_ends() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = store(folder.path()).await;
    let query = Query::live(store);
    let short = sql::Limits { time: std::time::Duration::from_millis(300), ..sql::Limits::default() };
    let product = "select count(*) from exchanges a, exchanges b, exchanges c where a.path < b.path and b.path < c.path";
    let late = query.sql(product, short).await;
    assert!(matches!(late, Err(Error::Late(_) | Error::Memory)), "{late:?}");
    let small = sql::Limits { memory_bytes: 1 << 20, ..sql::Limits::default() };
    let large = query.sql("select * from exchanges order by response_body", small).await;
    assert!(matches!(large, Err(Error::Memory)), "{large:?}");
}

#[tokio::test]
async fn sql_over_a_damaged_segment_answers_from_the_rest() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = store(folder.path()).await;
    let path = folder.path().join("segments").join(&store.snapshot().segments[1].path);
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let query = Query::live(store.clone());
    let answer = sql(&query, "select count(path) as n from exchanges").await.unwrap();
    assert_eq!(answer.rows[0]["n"], 2400);
    assert_eq!(store.counters().damaged_rows, 600);
}

#[tokio::test]
async fn stats_count_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (store, rows) = store(folder.path()).await;
    let query = Query::live(store);
    let stats = query.stats(None, Some(rows[0].ts_ns), sql::Limits::default()).await.unwrap();
    let rows: Vec<_> = rows.iter().filter(|row| row.ts_ns < rows[0].ts_ns).collect();
    let errors = rows.iter().filter(|row| row.status.is_some_and(|status| status >= 500)).count();
    assert_eq!((&stats.total["count"], &stats.total["errors"]), (&rows.len().into(), &errors.into()));
    assert_eq!((stats.services.len(), stats.routes.len(), stats.statuses.len()), (1, 100, 6));
    assert_eq!(stats.services[0]["service"], "shop");
    let mut durations: Vec<_> = rows.iter().map(|row| row.duration_ns as f64 / 1e6).collect();
    durations.sort_by(f64::total_cmp);
    let told = stats.total["p95_ms"].as_f64().unwrap();
    assert!((told - durations[rows.len() * 95 / 100]).abs() < 1.0, "{told}");
}

#[tokio::test]
async fn exchanges_of_the_very_same_time_are_each_on_one_page() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { data_dir: folder.path().to_owned(), ..Options::default() };
    let store = Store::open(options).unwrap();
    let mut expected = Vec::new();
    // The same sequence has the same time, so that four segments and the unsealed rest hold one time only.
    for proxy in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        store.append(request(proxy, 1, 1..=1)).await.unwrap();
        expected.push(samples::rows(proxy, 1, 1..=1)[0].uuid);
        if ["b", "d", "f", "h"].contains(&proxy) {
            store.roll().await.unwrap();
            assert!(store.seal_next(&mut |_| Ok(())).await.unwrap());
        }
    }
    expected.sort_unstable_by_key(|uuid| std::cmp::Reverse(*uuid));
    let query = Query::live(store);
    for limit in 1..=4 {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = query.pairs(&Filter::default(), limit, cursor, TIME_BUDGET).await.unwrap();
            found.extend(page.rows.iter().map(|row| row.uuid));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{limit}");
    }
}
