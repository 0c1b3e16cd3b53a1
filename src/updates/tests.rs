use super::*;

/// A server whose answers a test chooses.
#[derive(Default)]
pub(crate) struct Fake {
    pub(crate) status: u16,
    pub(crate) body: String,
    pub(crate) asked: Vec<Ask>,
}

impl Asks for Fake {
    fn ask(&mut self, ask: &Ask, body: &mut dyn FnMut(&[u8]) -> io::Result<()>) -> Result<Head, Missed> {
        self.asked.push(ask.clone());
        if self.status == 0 {
            return Err(Missed::Unreachable("nobody is there".into()));
        }
        body(self.body.as_bytes()).expect("written");
        Ok(Head { status: self.status, etag: Some("\"1\"".into()), ..Head::default() })
    }

    fn addresses(&mut self, _name: &str, _within: Duration) -> Result<Vec<std::net::IpAddr>, Missed> {
        Ok(Vec::new())
    }
}

const BOUNDS: Bounds = Bounds { most: 1 << 20, within: Duration::from_secs(1) };

struct Place {
    dir: tempfile::TempDir,
    item: Item,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let url = "https://a.example/list.txt".to_owned();
        let item = Item {
            path: crate::lists::downloaded(dir.path(), &url),
            url,
            what: What::List(Holds::Indicators),
            period: Duration::from_secs(86_400),
        };
        Self { dir, item }
    }

    fn open(&self) -> Updater {
        Updater::open(self.dir.path(), BOUNDS, Plan::default()).expect("open")
    }

    /// An update at a time, by a program of its own.
    fn update(&self, entries: usize, now: i64) -> Outcome {
        let body = (0..entries).map(|n| format!("file{n}.example.com\n")).collect();
        let mut fake = Fake { status: 200, body, ..Fake::default() };
        self.open().update(&self.item, &mut fake, Shrunk::Hold, now).expect("kept")
    }

    fn lines(&self) -> usize {
        fs::read_to_string(&self.item.path).expect("there").lines().count()
    }
}

#[test]
fn a_small_list_is_taken_when_it_comes_again_an_hour_later() {
    let place = Place::new();
    assert!(matches!(place.update(100, 0), Outcome::New { entries: 100, .. }));
    assert_eq!(place.update(40, 1000), Outcome::Held { entries: 40, ours: 100 });
    assert_eq!(place.lines(), 100);
    let next = place.open().record(&place.item).map(|record| record.next).unwrap_or_default();
    assert!((4600..=4960).contains(&next), "asked again as soon as it may be confirmed: {next}");
    assert_eq!(place.update(41, 2000), Outcome::Held { entries: 41, ours: 100 });
    assert!(matches!(place.update(42, 4600), Outcome::New { entries: 42, .. }));
    assert_eq!(place.lines(), 42);
    // Back at its size, a new loss is a new story.
    assert!(matches!(place.update(100, 5000), Outcome::New { .. }));
    assert_eq!(place.update(40, 90_000), Outcome::Held { entries: 40, ours: 100 });
}

#[test]
fn a_list_that_somebody_put_there_is_weighed_too() {
    let place = Place::new();
    let text: String = (0..100).map(|n| format!("198.51.100.{n}\n")).collect();
    fs::write(&place.item.path, text).expect("imported");
    assert_eq!(place.update(10, 0), Outcome::Held { entries: 10, ours: 100 });
}

#[test]
fn what_is_remembered_may_break_and_only_words_are_lost() {
    let place = Place::new();
    place.update(50, 0);
    fs::write(place.dir.path().join("updates.json"), b"{\"https://a.ex").expect("broken");
    let mut fake = Fake { status: 304, ..Fake::default() };
    let outcome = place.open().update(&place.item, &mut fake, Shrunk::Hold, 9).expect("kept");
    assert!(
        matches!(outcome, Outcome::Failed { unreachable: false, .. }),
        "nobody asked for a 304: {outcome:?}"
    );
    assert!(fake.asked[0].headers.is_empty());
    assert_eq!(place.lines(), 50);
    assert_eq!(place.update(50, 10), Outcome::Unchanged);
}

#[test]
fn only_one_program_updates_and_what_nobody_names_is_removed() {
    let place = Place::new();
    place.update(3, 0);
    let mut first = place.open();
    let second = Updater::open(place.dir.path(), BOUNDS, Plan::default());
    assert_eq!(second.err().map(|error| error.kind()), Some(io::ErrorKind::WouldBlock));
    fs::write(place.dir.path().join("own.txt"), "203.0.113.1\n").expect("somebody's");
    first.forget_all_but(std::slice::from_ref(&place.item), place.dir.path()).expect("kept");
    assert!(place.item.path.exists());
    first.forget_all_but(&[], place.dir.path()).expect("kept");
    assert!(!place.item.path.exists() && place.dir.path().join("own.txt").exists());
    assert!(first.record(&place.item).is_none() && first.is_due(&place.item, 0));
}
