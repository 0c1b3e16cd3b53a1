//! What one node asks another and what it answers, pages of snapshots among them; and replay windows as they are kept on disk.
#![no_main]

use slips_p2p::exchange::{MAX_ENVELOPES, MAX_HAVE, MAX_INDICATORS, Request, Response};
use slips_p2p::identity::NodeId;
use slips_p2p::replay::Replay;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((choice, bytes)) = input.split_first() else { return };
    match choice % 3 {
        0 => {
            let Ok(request) = Request::decode(bytes) else { return };
            match &request {
                Request::Missing { have, .. } => assert!(have.len() <= MAX_HAVE),
                Request::Seen(asked) => assert!(asked.len() <= MAX_INDICATORS),
                Request::Join { .. } | Request::Unknown => {}
            }
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
        1 => {
            let Ok(response) = Response::decode(bytes) else { return };
            match &response {
                Response::Page { envelopes, .. } => assert!(envelopes.len() <= MAX_ENVELOPES),
                Response::Seen(seen) => assert!(seen.len() <= MAX_INDICATORS),
                Response::Join { .. } | Response::Unknown => {}
            }
            assert_eq!(Response::decode(&response.encode()), Ok(response));
        }
        _ => {
            let mut replay = Replay::default();
            if replay.restore(NodeId([1; 32]), bytes).is_ok() {
                assert!(replay.persist().all(|(_, kept)| kept == bytes));
                replay.take(NodeId([1; 32]), u64::MAX / 2, 77);
                assert_eq!(replay.complete().count(), 1);
            }
        }
    }
});
