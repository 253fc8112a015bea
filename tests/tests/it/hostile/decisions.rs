//! Real nodes of a committee consortium under a relay that splits the holders, publishes what they
//! did not decide, plays back what they opened before, or keeps a holder from opening anything.
//!
//! That the same processes complete all rounds once they are not lied to is the control of every
//! lie.

use std::collections::BTreeSet;
use std::sync::mpsc::{Sender, channel};

use fl_protocol::digest::Digest;
use fl_protocol::identity::{Identity, NodeId};
use fl_protocol::round::committee::message::{Reveal, Vote};
use fl_protocol::round::committee::{Contributors, Decision};
use fl_protocol::round::message::Signed;
use fl_protocol::round::{Evidence, Kind, Outcome, Refusal};
use fl_protocol::wire::{NodeFrame, RelayFrame};
use fl_tests::deployed::PATIENCE;
use fl_tests::hostile_relay::met::{doubled, invalid, of_others, stale};
use fl_tests::hostile_relay::{Attack, Lie, Parcel, Record, Run, committee, lie};

use crate::support::lies::{OTHER, Withholding, by_its_tags, outcome, refuse_a_rerun, signed, sum};

fn decision(outcome: &mut Outcome) -> &mut Decision {
    match &mut outcome.parts {
        Evidence::Decision(decision) => decision,
        Evidence::Sums(_) => panic!("a result of the peer scheme"),
    }
}

/// Changes what the first outcome says that the committee decided.
fn decided(
    met: fn(&Refusal) -> bool,
    change: impl Fn(&Record, &mut Decision) + Send + 'static,
) -> Lie {
    outcome(1, met, move |record, outcome| {
        change(record, decision(outcome));
    })
}

/// Changes what c, which is in league with the relay, has revealed.
fn revealed(
    met: fn(&Refusal) -> bool,
    key_of_c: &Identity,
    change: impl Fn(&Record, &mut Reveal) + Send + 'static,
) -> Lie {
    let key_of_c = key_of_c.clone();
    decided(met, move |record, decision| {
        let c = record.id("c");
        let mut reveals = decision.reveals.iter_mut();
        let reveal = reveals
            .find(|reveal| record.opened(reveal).holder == c)
            .unwrap();
        let mut of_c = record.opened(reveal);
        change(record, &mut of_c);
        *reveal = signed(&of_c, &key_of_c);
    })
}

#[test]
fn a_real_node_refuses_a_result_without_the_votes_for_its_contributors() {
    let consortium = committee("a,b,c,d", "committee:3,2");
    let (key_of_c, key_of_d) = (consortium.identity("c"), consortium.identity("d"));
    let lies = vec![
        decided(
            |refusal| {
                matches!(
                    refusal,
                    Refusal::Votes {
                        found: 2,
                        needed: 3
                    }
                )
            },
            |_, decision| drop(decision.votes.pop()),
        ),
        decided(
            |refusal| doubled(refusal, Kind::Vote),
            |_, decision| decision.votes[1] = decision.votes[0].clone(),
        ),
        decided(
            |refusal| invalid(refusal, Kind::Vote),
            move |record, decision| {
                let of_another = record.opened(&decision.votes[0]);
                decision.votes[0] = signed(&of_another, &key_of_d);
            },
        ),
        decided(
            |refusal| of_others(refusal, Kind::Vote),
            move |record, decision| {
                let c = record.id("c");
                let mut votes = decision.votes.iter_mut();
                let vote = votes.find(|vote| record.opened(vote).holder == c).unwrap();
                let elsewhere = Vote {
                    contributors: OTHER,
                    ..record.opened(vote)
                };
                *vote = signed(&elsewhere, &key_of_c);
            },
        ),
        // A contributor left out, twice there, out of order.
        decided(
            |refusal| of_others(refusal, Kind::Vote),
            |_, decision| drop(decision.contributions.pop()),
        ),
        decided(
            |refusal| doubled(refusal, Kind::Contribution),
            |_, decision| decision.contributions[1] = decision.contributions[0].clone(),
        ),
        decided(
            |refusal| doubled(refusal, Kind::Contribution),
            |_, decision| decision.contributions.swap(0, 1),
        ),
        decided(
            |refusal| {
                matches!(
                    refusal,
                    Refusal::TooFew {
                        found: 2,
                        min_nodes: 3
                    }
                )
            },
            |_, decision| decision.contributions.truncate(2),
        ),
        outcome(
            1,
            |refusal| {
                matches!(
                    refusal,
                    Refusal::Holders {
                        found: 2,
                        needed: 3
                    }
                )
            },
            |_, outcome| outcome.bundle.truncate(2),
        ),
        outcome(
            1,
            |refusal| {
                *refusal
                    == Refusal::Unexpected {
                        what: Kind::Outcome,
                    }
            },
            |_, outcome| outcome.parts = Evidence::Sums(Vec::new()),
        ),
    ];
    lie(&consortium, "a,b,c,d", 1, lies);
}

#[test]
fn a_real_node_refuses_a_result_whose_masks_are_not_taken_off_once_each() {
    let consortium = committee("a,b,c,d", "committee:3,2");
    let (key_of_c, key_of_d) = (consortium.identity("c"), consortium.identity("d"));
    let lies = vec![
        decided(
            |refusal| matches!(refusal, Refusal::NotRevealed { .. }),
            |_, decision| drop(decision.reveals.pop()),
        ),
        decided(
            |refusal| doubled(refusal, Kind::Reveal),
            |_, decision| decision.reveals.push(decision.reveals[0].clone()),
        ),
        revealed(
            |refusal| matches!(refusal, Refusal::Classes { .. }),
            &key_of_c,
            |record, reveal| {
                let committee = record.manifest.committee().unwrap();
                reveal.classes = committee.classes().all();
            },
        ),
        revealed(
            |refusal| of_others(refusal, Kind::Reveal),
            &key_of_c,
            |_, reveal| reveal.contributors = OTHER,
        ),
        revealed(
            |refusal| stale(refusal, Kind::Reveal),
            &key_of_c,
            |_, reveal| reveal.ctx = OTHER,
        ),
        // The masks of the tags are not those of the sum.
        revealed(by_its_tags, &key_of_c, |_, reveal| reveal.tag[0] ^= 1),
        decided(
            |refusal| matches!(refusal, Refusal::Stranger(_)),
            move |record, decision| {
                let foreign = Reveal {
                    holder: record.id("d"),
                    ..record.opened(&decision.reveals[0])
                };
                decision.reveals[0] = signed(&foreign, &key_of_d);
            },
        ),
        // Another sum, whose root and model go with it.
        sum(by_its_tags, |words| {
            let last = words.last_mut().unwrap();
            *last = last.wrapping_sub(1);
        }),
    ];
    lie(&consortium, "a,b,c,d", 1, lies);
}

#[test]
fn a_real_node_refuses_what_holders_voted_for_or_revealed_in_another_round() {
    let former = |change: fn(&mut Decision, Decision)| {
        move |record: &Record, outcome: &mut Outcome| {
            let mut first = record.results[0].0.clone();
            change(decision(outcome), decision(&mut first).clone());
        }
    };
    let lies = vec![
        outcome(
            2,
            |refusal| stale(refusal, Kind::Reveal),
            former(|decision, former| decision.reveals = former.reveals),
        ),
        outcome(
            2,
            |refusal| stale(refusal, Kind::Vote),
            former(|decision, former| decision.votes = former.votes),
        ),
        outcome(
            2,
            |refusal| stale(refusal, Kind::Contribution),
            former(|decision, former| decision.contributions = former.contributions),
        ),
        outcome(
            2,
            |refusal| stale(refusal, Kind::Contribution),
            former(|decision, former| *decision = former),
        ),
        outcome(
            2,
            |refusal| stale(refusal, Kind::Keys),
            |record, outcome| outcome.clone_from(&record.results[0].0),
        ),
    ];
    lie(&committee("a,b,c,d", "committee:3,2"), "a,b,c,d", 2, lies);
}

/// Who revealed what is in each result.
fn revealers(record: &Record) -> Vec<BTreeSet<String>> {
    let results = record.results.iter().map(|(outcome, _)| {
        let Evidence::Decision(decision) = &outcome.parts else {
            panic!("a result of the peer scheme")
        };
        let holders = decision
            .reveals
            .iter()
            .map(|reveal| record.opened(reveal).holder);
        holders
            .map(|holder| record.name(holder).to_owned())
            .collect()
    });
    results.collect()
}

/// Asks nobody called so for masks: the connection is cut instead.
struct CutOff {
    holders: &'static [&'static str],
    revealers: Sender<Vec<BTreeSet<String>>>,
}

impl Attack for CutOff {
    fn send(&mut self, record: &Record, to: NodeId, parcels: &mut Vec<Parcel>) {
        match &parcels[..] {
            [Parcel::Frame(RelayFrame::Reveal { .. })]
                if self.holders.contains(&record.name(to)) =>
            {
                *parcels = vec![Parcel::Close];
            }
            // The test may know already.
            [Parcel::Frame(RelayFrame::Outcome(_)), ..] => {
                let _ = self.revealers.send(revealers(record));
            }
            _ => {}
        }
    }
}

#[test]
fn what_a_withheld_holder_was_to_reveal_real_holders_reveal_in_its_place() {
    let consortium = committee("a,b,c,d,e", "committee:4,1");
    let round_without = |holders| {
        let (revealers, told) = channel();
        let attack = CutOff { holders, revealers };
        let run = Run::start(&consortium, "a,b,c,d,e", 1, attack);
        let mut revealers = told.recv_timeout(PATIENCE).unwrap();
        assert_eq!(run.completes(), []);
        for node in ["a", "b", "c", "d", "e"] {
            std::fs::remove_dir_all(consortium.state(node)).unwrap();
        }
        revealers.pop().unwrap()
    };
    // The control: with all of them there, each reveals a part.
    let all = ["a", "b", "c", "d"].map(str::to_owned);
    assert_eq!(round_without(&[]), all.clone().into());
    let without_one = round_without(&["b"]);
    assert!(
        !without_one.contains("b") && without_one.len() <= 3,
        "{without_one:?}"
    );
    let without_two = round_without(&["b", "c"]);
    assert_eq!(without_two, ["a", "d"].map(str::to_owned).into());
}

#[test]
fn real_holders_refuse_a_rerun_without_one_contributor_after_their_votes_even_restarted() {
    let consortium = committee("a,b,c,d,e", "committee:3,2");
    let (attack, results) = Withholding::new();
    let mut run = Run::start(&consortium, "a,b,c,d,e", 1, attack);
    results.wait();
    let refused = refuse_a_rerun(&mut run, &["a", "b", "c", "d", "e"]);
    assert_eq!(refused, ["a", "b", "c"].map(str::to_owned).into());

    // With the very same contributors it goes on.
    results.release();
    run.relay.rerun_without(&[]);
    run.completes();
}

/// Has a and b vote for all, c for all but e; d is in league with the relay and votes for both. The
/// lists of neither side are shown to the other, but for the certificates that can be made of the
/// votes.
struct Split {
    traitor: Identity,
    /// The list without e that c votes for.
    few: Option<Contributors>,
    vote_of_c: Option<Signed<Vote>>,
    tried: BTreeSet<&'static str>,
}

impl Split {
    fn vote_of_d(&self, record: &Record, few: &Contributors, ctx: Digest) -> Signed<Vote> {
        let vote = Vote {
            ctx,
            holder: record.id("d"),
            contributors: few.digest(),
        };
        signed(&vote, &self.traitor)
    }
}

impl Attack for Split {
    fn send(&mut self, record: &Record, to: NodeId, parcels: &mut Vec<Parcel>) {
        let [Parcel::Frame(frame)] = &mut parcels[..] else {
            return;
        };
        match frame {
            RelayFrame::Ballot { ctx, entries } if record.name(to) == "c" => {
                let left_out = record.id("e");
                entries.retain(|entry| entry.node != left_out);
                let few = Contributors::new(*ctx, entries.clone(), Kind::Ballot);
                self.few = Some(few.unwrap());
            }
            // Q are 3: c, d and nobody else.
            RelayFrame::Reveal {
                ctx,
                entries,
                votes,
                ..
            } if record.name(to) == "a" && self.tried.insert("a") => {
                let few = self.few.as_ref().unwrap();
                *entries = few.entries().to_vec();
                *votes = vec![
                    self.vote_of_c.clone().unwrap(),
                    self.vote_of_d(record, few, *ctx),
                ];
            }
            // The certificate for all holds, but c has voted for others.
            _ => {}
        }
    }

    fn receive(
        &mut self,
        record: &Record,
        from: NodeId,
        frame: &NodeFrame,
    ) -> Option<Vec<(NodeId, Parcel)>> {
        match frame {
            NodeFrame::Vote(vote) if record.name(from) == "c" => {
                self.vote_of_c = Some(vote.clone());
                Some(Vec::new())
            }
            // The certificate is not made before c has voted as well.
            NodeFrame::Vote(_) if self.vote_of_c.is_none() => Some(vec![(from, Parcel::Close)]),
            _ => None,
        }
    }
}

#[test]
fn real_holders_that_were_shown_different_contributors_reveal_one_sum_only() {
    let consortium = committee("a,b,c,d,e", "committee:4,1");
    let attack = Split {
        traitor: consortium.identity("d"),
        few: None,
        vote_of_c: None,
        tried: BTreeSet::new(),
    };
    let run = Run::start(&consortium, "a,b,c,d,e", 1, attack);
    // c is shown the certificate for all, which a, b and d have made; a one for fewer, of c and d.
    let mut refused = BTreeSet::new();
    while refused.len() < 2 {
        let (node, refusal) = run.relay.refusal();
        match node.as_str() {
            "c" => assert_eq!(refusal, Refusal::Voted),
            "a" => assert_eq!(
                refusal,
                Refusal::Votes {
                    found: 2,
                    needed: 3
                }
            ),
            other => panic!("{other}: {refusal}"),
        }
        run.says(&node, &refusal);
        refused.insert(node);
    }
    run.completes();
}
