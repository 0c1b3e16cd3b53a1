//! Ten real nodes in one process: everybody hears everything, also what is said at once, also when half of them hand nothing on.
//! How fast: `examples/many`.
#![allow(dead_code, reason = "the module is the example's")]
#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "a test has no other way to fail")]

#[path = "../examples/many/crowd.rs"]
mod crowd;
mod support;

use crowd::Crowd;

#[tokio::test]
async fn ten_nodes_hear_everything() {
    let mut crowd = Crowd::gather(10, false, support::open_limits(), &support::clock()).await;
    let spread = crowd.spread(30).await;
    assert_eq!((spread.heard, spread.wanted), (270, 270));
}

#[tokio::test]
async fn ten_nodes_hear_everything_though_half_of_them_are_mute() {
    let mut crowd = Crowd::gather(10, true, support::open_limits(), &support::clock()).await;
    let spread = crowd.spread(30).await;
    assert_eq!((spread.heard, spread.wanted), (120, 120));
}

#[tokio::test]
async fn a_burst_of_two_thousand_reaches_nine_others_whole() {
    let mut crowd = Crowd::gather(10, false, support::open_limits(), &support::clock()).await;
    let (heard, _) = crowd.burst(0, 2000).await;
    assert_eq!(heard, [2000; 9]);
}
