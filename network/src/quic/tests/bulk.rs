//! Bodies: whole ones, and those that trickle, end too early or are given up.

use bytes::Bytes;
use fl_protocol::manifest::Pace;

use super::*;

/// Bytes of which no two neighbouring pieces are alike.
fn body(length: usize) -> Bytes {
    (0..length)
        .map(|i| (i ^ i >> 8 ^ i >> 16).to_le_bytes()[0])
        .collect()
}

#[tokio::test]
async fn a_bulk_body_arrives_whole_in_any_number_of_parts() {
    let pair = Pair::new().await;
    let sent = body(20_000_000);
    for cut in [0, 19_000_001, sent.len()] {
        let parts = [sent.slice(..cut), sent.slice(cut..)];
        let upload = send_bulk(&pair.node, b"sum", parts);
        let download = async {
            let bulk = BulkReceiver::accept(&pair.relay, pace()).await?;
            let (header, mut body) = bulk.header(3).await?;
            assert_eq!(header, b"sum");
            let mut received = vec![0; sent.len()];
            for piece in received.chunks_mut(262_144) {
                body.next_piece(piece).await?;
            }
            body.end().await?;
            Ok::<_, TransportError>(received)
        };
        let (uploaded, received) = tokio::join!(upload, download);
        uploaded.unwrap();
        assert!(received.unwrap() == sent, "the body changed on its way");
    }
}

#[tokio::test]
async fn a_body_of_another_length_or_header_is_refused() {
    let pair = Pair::new().await;
    let receive = async || {
        send_bulk(&pair.node, b"sum", [body(1000)]).await.unwrap();
        let bulk = BulkReceiver::accept(&pair.relay, pace()).await.unwrap();
        bulk.header(3).await.unwrap().1
    };
    let mut piece = [0; 1000];

    let mut exact = receive().await;
    exact.next_piece(&mut piece).await.unwrap();
    exact.end().await.unwrap();

    let mut short = receive().await;
    short.next_piece(&mut piece[..600]).await.unwrap();
    let error = short.next_piece(&mut piece[..500]).await.unwrap_err();
    let TransportError::Truncated { expected, received } = error else {
        panic!("{error}")
    };
    assert_eq!((expected, received), (1100, 1000));

    let mut long = receive().await;
    long.next_piece(&mut piece[..999]).await.unwrap();
    let error = long.end().await.unwrap_err();
    assert!(
        matches!(error, TransportError::Trailing { expected: 999 }),
        "{error}"
    );

    send_bulk(&pair.node, b"four", []).await.unwrap();
    let bulk = BulkReceiver::accept(&pair.relay, pace()).await.unwrap();
    let error = bulk.header(3).await.unwrap_err();
    assert!(
        matches!(
            error,
            TransportError::FrameTooLong {
                length: 4,
                limit: 3
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_trickling_body_is_given_up_and_a_slow_reader_is_not() {
    let pair = Pair::new().await;
    let grace = Duration::from_millis(200);
    let pace = Pace {
        grace,
        bytes_per_second: NonZeroU64::new(10_000).unwrap(),
    };
    let (mut raw, mut piece) = (pair.node.open_uni().await.unwrap(), [0; 100]);
    raw.write_all(&[0; 4 + 100]).await.unwrap();
    let bulk = BulkReceiver::accept(&pair.relay, pace).await.unwrap();
    let (_, mut body) = bulk.header(0).await.unwrap();
    tokio::time::sleep(2 * grace).await;
    body.next_piece(&mut piece).await.unwrap();

    let trickle = tokio::spawn(async move {
        // Each byte comes well within the grace, yet the whole would take five seconds.
        while raw.write_all(&[0]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let error = body.next_piece(&mut piece).await.unwrap_err();
    assert!(
        matches!(
            error,
            TransportError::TooSlow {
                received: 100..120,
                ..
            }
        ),
        "{error}"
    );
    drop(body);
    trickle.await.unwrap();
}

#[test]
fn a_pace_allows_its_grace_and_the_time_that_the_bytes_take() {
    let grace = Duration::from_secs(30);
    let pace = Pace {
        grace,
        bytes_per_second: NonZeroU64::new(1000).unwrap(),
    };
    assert_eq!(pace.allowance(0), grace);
    assert_eq!(pace.allowance(2500), grace + Duration::from_millis(2500));
    let slowest = Pace {
        grace: Duration::MAX,
        bytes_per_second: NonZeroU64::MIN,
    };
    assert_eq!(slowest.allowance(u64::MAX), Duration::MAX);
}

#[tokio::test]
async fn a_sender_that_gives_up_resets_its_body() {
    let pair = Pair::new().await;
    let node = pair.node.clone();
    let sending = tokio::spawn(async move { send_bulk(&node, b"", [body(40 << 20)]).await });
    let bulk = BulkReceiver::accept(&pair.relay, pace()).await.unwrap();
    let (_, mut received) = bulk.header(0).await.unwrap();
    received.next_piece(&mut [0; 1000]).await.unwrap();
    sending.abort();
    let mut rest = vec![0; (40 << 20) - 1000];
    let error = received.next_piece(&mut rest).await.unwrap_err();
    assert!(
        matches!(error, TransportError::StreamReset { code: 0 }),
        "{error}"
    );
}

#[tokio::test]
async fn a_receiver_that_gives_up_stops_the_sender() {
    let pair = Pair::new().await;
    let refuse = async { drop(BulkReceiver::accept(&pair.relay, pace()).await.unwrap()) };
    let (sent, ()) = tokio::join!(send_bulk(&pair.node, b"", [body(40 << 20)]), refuse);
    let error = sent.unwrap_err();
    assert!(
        matches!(error, TransportError::StreamStopped { code: 0 }),
        "{error}"
    );
}

#[tokio::test]
async fn bodies_that_nobody_reads_do_not_silence_the_control_stream() {
    let pair = Pair::new().await;
    let (mut to_relay, _recv) = control::open(&pair.node).await.unwrap();
    for _ in 0..2 {
        let (node, body) = (pair.node.clone(), body(20 << 20));
        tokio::spawn(async move { send_bulk(&node, b"", [body]).await });
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    to_relay.send(&[7; 100_000]).await.unwrap();
    let (_, mut from_node) = control::accept(&pair.relay).await.unwrap();
    assert_eq!(
        from_node.recv(100_000).await.unwrap().unwrap(),
        &[7; 100_000][..]
    );
}
