//! The files that show what the detections say of themselves are up to date.

use std::path::Path;

use slips_detect::describe;

#[test]
fn every_detection_says_all_that_a_person_should_know() {
    assert_eq!(describe::gaps(), Vec::<String>::new());
}

#[test]
fn the_documents_are_generated_from_the_detections() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for (file, part) in
        [("docs/detections.md", describe::markdown()), ("config/slips.yaml", describe::yaml())]
    {
        let text = std::fs::read_to_string(root.join(file)).expect(file);
        assert!(text.contains(&part), "{file} differs: cargo run -p slips-detect --example document");
    }
}
