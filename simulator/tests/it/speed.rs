//! Bounds that tests of the operator rely on. Limits are generous: they catch a quadratic list, not a slow machine.

use std::time::Instant;

use runai_simulator::SeedCluster;

use crate::common::Api;

#[tokio::test]
async fn ten_thousand_clusters_are_served() {
    let api = Api::with(|_| ()).await;
    for index in 0..10_000 {
        api.sim.seed(SeedCluster::named(&format!("cluster-{index}")).connected()).unwrap();
    }
    let started = Instant::now();
    let list = api.get("/api/v1/clusters").await;
    let elapsed = started.elapsed();
    assert_eq!(list.body.as_array().unwrap().len(), 10_000);
    assert!(list.text.len() > 10_000 * 500, "with full status");
    println!("list of 10,000: {elapsed:?}, {} bytes", list.text.len());
    let started = Instant::now();
    for _ in 0..500 {
        api.create(&format!("new-{}", api.sim.last_seq())).await;
    }
    println!("500 creates among 10,000: {:?}", started.elapsed());
    assert_eq!(api.sim.counters().creates_per_name.len(), 500);
}

#[tokio::test]
async fn a_list_of_a_thousand_and_many_reads() {
    let api = Api::with(|_| ()).await;
    let mut last = None;
    for index in 0..1_000 {
        last = Some(api.sim.seed(SeedCluster::named(&format!("cluster-{index}")).connected()).unwrap());
    }
    let seq = api.sim.last_seq();
    for _ in 0..5 {
        api.get("/api/v1/clusters").await;
    }
    let best = api.sim.journal_since(seq).iter().map(|entry| entry.duration_ms).min().unwrap();
    println!("list of 1,000: {best} ms in the server");
    assert!(best < 500, "{best} ms");
    let path = format!("/api/v1/clusters/{}", last.unwrap());
    let client = reqwest::Client::builder().build().unwrap();
    let started = Instant::now();
    let readers = (0..8).map(|_| {
        let (client, url, token) = (client.clone(), api.at(&path), api.token.clone());
        tokio::spawn(async move {
            for _ in 0..250 {
                assert_eq!(client.get(&url).bearer_auth(&token).send().await.unwrap().status(), 200);
            }
        })
    });
    for reader in futures::future::join_all(readers).await {
        reader.unwrap();
    }
    println!("2,000 reads: {:?}", started.elapsed());
}
