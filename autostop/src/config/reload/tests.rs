//! A token or a certificate that changes under a running daemon.

use std::io::Write as _;

use super::{
    super::tests::{DAEMON, matches},
    *,
};

struct Changing {
    folder: tempfile::TempDir,
    follower: Follower,
}

impl Changing {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        fs::write(&file, text).unwrap();
        let source = Source::new(&DAEMON, &matches(&file, &[]), Config::control_plane);
        let live = source.read().unwrap().live;
        let mut changing = Self { folder, follower: Follower::new(source, live) };
        changing.settle();
        changing
    }

    fn write(&self, text: &str) {
        fs::write(self.folder.path().join("config.toml"), text).unwrap();
    }

    fn settle(&mut self) {
        self.follower.look();
        self.follower.look();
    }

    fn token(&self) -> String {
        let live = self.follower.told.borrow().clone();
        live.auth_token.as_ref().map_or(String::new(), |token| token.expose().to_owned())
    }
}

#[test]
fn a_new_token_is_taken_up() {
    let mut changing = Changing::new("authToken = \"one\"");
    changing.write("authToken = \"two\"");
    changing.settle();
    assert_eq!(changing.token(), "two");
}

#[test]
fn a_file_that_is_still_written_is_left_alone() {
    let mut changing = Changing::new("authToken = \"one\"");
    let path = changing.folder.path().join("config.toml");
    changing.write("");
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    for part in ["authToken = ", "\"two", "-and-more\""] {
        changing.follower.look();
        assert_eq!(changing.token(), "one");
        assert_eq!(changing.follower.problem, None);
        file.write_all(part.as_bytes()).unwrap();
    }
    changing.settle();
    assert_eq!(changing.token(), "two-and-more");
}

#[test]
fn a_bad_file_leaves_the_old_in_force_and_is_told_once() {
    let mut changing = Changing::new("authToken = \"one\"");
    for bad in ["authToken = \"two", "authTokens = \"two\"", "", "proxyPort = \"x\""] {
        changing.write(bad);
        changing.settle();
        assert_eq!(changing.token(), "one", "{bad}");
        assert!(changing.follower.problem.is_some(), "{bad}");
    }
    let told = changing.follower.problem.clone();
    changing.settle();
    assert_eq!(changing.follower.problem, told);
    fs::remove_file(changing.folder.path().join("config.toml")).unwrap();
    changing.settle();
    assert_eq!(changing.token(), "one");
    changing.write("authToken = \"three\"");
    changing.settle();
    assert_eq!((changing.token().as_str(), &changing.follower.problem), ("three", &None));
}

#[test]
fn a_certificate_is_taken_up_once_its_key_is_there_too() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name| folder.path().join(name);
    let pair = || {
        let pair = rcgen::generate_simple_self_signed(["a.example.com".to_owned()]).unwrap();
        (pair.cert.pem(), pair.signing_key.serialize_pem())
    };
    let ((old_cert, old_key), (new_cert, new_key)) = (pair(), pair());
    fs::write(place("cert"), &old_cert).unwrap();
    fs::write(place("key"), &old_key).unwrap();
    let table = format!(
        "[[certificates]]\ncert = {:?}\nkey = {:?}\n",
        place("cert").display().to_string(),
        place("key").display().to_string()
    );
    let mut changing = Changing::new(&table);
    let chain = |changing: &Changing| changing.follower.told.borrow().certificates[0].chain.clone();
    assert_eq!(chain(&changing), old_cert);
    fs::write(place("cert"), &new_cert).unwrap();
    changing.settle();
    assert_eq!(chain(&changing), old_cert);
    assert!(changing.follower.problem.is_some());
    fs::write(place("key"), &new_key).unwrap();
    changing.settle();
    assert_eq!(chain(&changing), new_cert);
    assert_eq!(changing.follower.problem, None);
}

#[tokio::test(start_paused = true)]
async fn whoever_watches_hears_of_it_without_asking() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    fs::write(&file, "authToken = \"one\"").unwrap();
    let source = Source::new(&DAEMON, &matches(&file, &[]), Config::control_plane);
    let live = source.read().unwrap().live;
    let drain = Drain::default();
    let mut live = watch(source, live, &drain).unwrap();
    fs::write(&file, "authToken = \"two\"").unwrap();
    live.changed().await.unwrap();
    assert_eq!(live.borrow().auth_token.as_ref().unwrap().expose(), "two");
    drain.ask();
    drain.idle().await;
}
