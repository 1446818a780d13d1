use openagents_client::{AgentClient, Deliveries, Delivery, Event, handling};

use crate::peer::{LIMIT, Peer, event, within};

async fn batch(deliveries: &mut Deliveries) -> Vec<Delivery> {
    within(LIMIT, deliveries.next_batch(100)).await.unwrap()
}

async fn one(deliveries: &mut Deliveries) -> Delivery {
    within(LIMIT, deliveries.next_batch(1))
        .await
        .unwrap()
        .pop()
        .unwrap()
}

fn id(delivery: &Delivery) -> &str {
    &delivery.event().event_id
}

#[tokio::test]
async fn deliveries_are_finished_in_any_order_and_acknowledged_in_that_of_the_log() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let mut deliveries = client.deliveries();
    for sequence in 1..=3 {
        line.event(event(sequence, "test.event", "bob")).await;
    }
    let mut taken = Vec::new();
    while taken.len() < 3 {
        taken.extend(batch(&mut deliveries).await);
    }
    let [first, second, third] = taken.try_into().unwrap();
    assert_eq!([id(&first), id(&second), id(&third)], ["e1", "e2", "e3"]);
    second.finish();
    line.quiet().await;
    first.finish_now();
    line.acknowledged(2).await;
    third.finish();
    line.acknowledged(3).await;
}

#[tokio::test]
async fn what_is_left_when_the_session_ends_is_not_current_any_more() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let mut deliveries = client.deliveries();
    line.event(event(1, "test.event", "bob")).await;
    let delivery = one(&mut deliveries).await;
    assert!(delivery.is_current());
    let (left, ()) = tokio::join!(client.disconnect(), async {
        while line.next().await.is_some() {}
    });
    assert!(left && !delivery.is_current());
    assert!(within(LIMIT, deliveries.next_batch(1)).await.is_none());
}

#[tokio::test]
async fn a_wait_that_looks_back_claims_what_it_returns() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    client.register_event_handler("test.none", |_| async {}).unwrap();
    for sequence in 1..=2 {
        line.event(event(sequence, "test.event", "bob")).await;
    }
    line.acknowledged(2).await;
    let (mut first, mut second) = (client.deliveries_looking_back(), client.deliveries_looking_back());
    let (mine, theirs) = (one(&mut first).await, one(&mut second).await);
    assert_eq!([id(&mine), id(&theirs)], ["e1", "e1"]);
    assert!(first.claim(&mine) && !second.claim(&theirs));
    let next = one(&mut second).await;
    assert_eq!((id(&next), second.claim(&next)), ("e2", true));
    line.event(event(3, "test.event", "bob")).await;
    let newest = one(&mut second).await;
    assert_eq!((id(&newest), second.claim(&newest)), ("e3", true));
    second.give_up();
    let (mut third, mut line) = (client.deliveries_looking_back(), line);
    line.event(event(4, "test.event", "bob")).await;
    assert_eq!(id(&one(&mut third).await), "e4");
}

#[tokio::test]
async fn what_is_sent_while_handling_an_event_is_linked_to_it() {
    let peer = Peer::bind().await;
    let (client, mut line) = peer.joined("me").await;
    let mut deliveries = client.deliveries();
    line.event(event(7, "test.event", "bob")).await;
    let delivery = one(&mut deliveries).await;
    let answer = |client: AgentClient| async move {
        client.send_event(Event::new("test.answer").to("agent:bob")).await
    };
    let answering = handling(delivery.event().clone(), answer(client.clone()));
    let (response, ()) = tokio::join!(answering, async {
        let publish = line.publish().await;
        assert_eq!(publish.event.response_to.as_deref(), Some("e7"));
        line.accepted(&publish, 8).await;
    });
    assert!(response.success);
}
