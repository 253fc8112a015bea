//! Real holders of a committee under a relay that lies about who contributes, who voted, and what
//! is sealed to whom.
//!
//! The relay has the keys of the nodes that are in league with it, and signs for them what it
//! likes. That the same processes complete all rounds once they are not lied to is the control of
//! every lie.

use std::sync::mpsc::{Sender, channel};

use fl_protocol::digest::Digest;
use fl_protocol::identity::{Identity, NodeId};
use fl_protocol::round::committee::message::{Contribution, ContributionId, Vote};
use fl_protocol::round::committee::{ClassSet, Envelope, SealedSeeds};
use fl_protocol::round::message::{Keys, Signed};
use fl_protocol::round::{Fault, Kind, Refusal};
use fl_protocol::wire::{NodeFrame, RelayFrame};
use fl_tests::deployed::PATIENCE;
use fl_tests::hostile_relay::met::{doubled, invalid, of_others, stale};
use fl_tests::hostile_relay::{Attack, Lie, Parcel, Record, Run, VICTIM, committee, lie};

use crate::support::lies::{OTHER, frame, keys, signed};

/// Changes what the victim gets of a contribution.
fn seeds_for(
    met: fn(&Refusal) -> bool,
    change: impl Fn(&Record, &mut SealedSeeds) -> bool + Send + 'static,
) -> Lie {
    frame(met, move |record, frame| match frame {
        RelayFrame::SealedSeeds(seeds_for) => change(record, seeds_for),
        _ => false,
    })
}

/// Changes the list that the victim is to vote for.
fn ballot(
    met: fn(&Refusal) -> bool,
    change: impl Fn(&Record, &mut Digest, &mut Vec<ContributionId>) + Send + 'static,
) -> Lie {
    frame(met, move |record, frame| match frame {
        RelayFrame::Ballot { ctx, entries } => {
            change(record, ctx, entries);
            true
        }
        _ => false,
    })
}

/// What a holder is shown before it reveals.
struct Order<'a> {
    ctx: &'a mut Digest,
    entries: &'a mut Vec<ContributionId>,
    votes: &'a mut Vec<Signed<Vote>>,
    classes: &'a mut ClassSet,
}

/// Changes the certificate that the victim is shown, or what it is to reveal for it.
fn order(
    met: fn(&Refusal) -> bool,
    change: impl Fn(&Record, Order<'_>) -> bool + Send + 'static,
) -> Lie {
    frame(met, move |record, frame| match frame {
        RelayFrame::Reveal {
            ctx,
            entries,
            votes,
            classes,
        } => change(
            record,
            Order {
                ctx,
                entries,
                votes,
                classes,
            },
        ),
        _ => false,
    })
}

/// All contributions so far, in the order in which they came.
fn contributions(record: &Record) -> Vec<(Signed<Contribution>, Envelope)> {
    let contributions = record.heard.iter().filter_map(|(_, frame)| match frame {
        NodeFrame::Contribution(signed, envelope) => Some((signed.clone(), envelope.clone())),
        _ => None,
    });
    contributions.collect()
}

/// A contribution of this attempt by another than the contributor of `seeds_for`.
fn anothers(
    record: &Record,
    seeds_for: &SealedSeeds,
) -> Option<(Contribution, Signed<Contribution>, Envelope)> {
    let of_slip = record.opened(&seeds_for.contribution);
    let mut others = contributions(record).into_iter().map(|(signed, envelope)| {
        let contribution = record.opened(&signed);
        (contribution, signed, envelope)
    });
    others.find(|(other, ..)| other.ctx == of_slip.ctx && other.node != of_slip.node)
}

/// The place of the victim among the holders of the last attempt, which is that of its box.
fn place(record: &Record) -> usize {
    let bundle = record.bundles.last().unwrap().iter();
    let mut holders: Vec<_> = bundle.map(|keys| record.opened(keys).node).collect();
    holders.sort();
    let victim = record.id(VICTIM);
    holders.iter().position(|holder| *holder == victim).unwrap()
}

/// Votes so far, of this attempt or of others.
fn votes(record: &Record, wanted: impl Fn(&Vote) -> bool) -> Vec<Signed<Vote>> {
    let votes = record.heard.iter().filter_map(|(_, frame)| match frame {
        NodeFrame::Vote(vote) if wanted(&record.opened(vote)) => Some(vote.clone()),
        _ => None,
    });
    votes.collect()
}

#[test]
fn a_real_holder_refuses_keys_of_too_few_holders_of_others_or_of_another_round() {
    let consortium = committee("a,b,c,d,e", "committee:4,1");
    let traitor = consortium.identity("e");
    let lies = vec![
        keys(
            |refusal| {
                matches!(
                    refusal,
                    Refusal::Holders {
                        found: 2,
                        needed: 3
                    }
                )
            },
            |_, bundle| {
                bundle.truncate(2);
                true
            },
        ),
        keys(
            |refusal| doubled(refusal, Kind::Keys),
            |_, bundle| {
                bundle[1] = bundle[0].clone();
                true
            },
        ),
        keys(
            |refusal| matches!(refusal, Refusal::Stranger(_)),
            move |record, bundle| {
                let node = record.id("e");
                let foreign = Keys {
                    node,
                    ..record.opened(&bundle[0])
                };
                bundle.push(signed(&foreign, &traitor));
                true
            },
        ),
        keys(
            |refusal| stale(refusal, Kind::Keys),
            |record, bundle| {
                let due = !record.results.is_empty();
                if due {
                    bundle.clone_from(&record.results[0].0.bundle);
                }
                due
            },
        ),
    ];
    lie(&consortium, "a,b,c,d,e", 2, lies);
}

#[test]
fn a_real_holder_opens_no_box_but_its_own_of_what_was_signed() {
    fn swapped(refusal: &Refusal) -> bool {
        invalid(refusal, Kind::Contribution)
    }
    let consortium = committee("a,b,c,d,e", "committee:4,1");
    let traitor = consortium.identity("e");
    let lies = vec![
        // The box of another contributor; that of another holder.
        seeds_for(swapped, |record, seeds_for| {
            let other = anothers(record, seeds_for);
            if let Some((_, _, envelope)) = &other {
                seeds_for.sealed.clone_from(&envelope.boxes[place(record)]);
            }
            other.is_some()
        }),
        seeds_for(swapped, |record, seeds_for| {
            let node = record.opened(&seeds_for.contribution).node;
            let own = contributions(record).into_iter();
            let mut own = own.filter(|(signed, _)| record.opened(signed).node == node);
            let (_, envelope) = own.next_back().unwrap();
            let not_mine = (place(record) + 1) % envelope.boxes.len();
            seeds_for.sealed.clone_from(&envelope.boxes[not_mine]);
            true
        }),
        // One contributor's word with what another has sealed, and in another's name.
        seeds_for(swapped, |record, seeds_for| {
            let other = anothers(record, seeds_for);
            if let Some((_, signed, _)) = &other {
                seeds_for.contribution = signed.clone();
            }
            other.is_some()
        }),
        seeds_for(swapped, move |record, seeds_for| {
            let of_other = record.opened(&seeds_for.contribution);
            let due = of_other.node != record.id("e");
            if due {
                seeds_for.contribution = signed(&of_other, &traitor);
            }
            due
        }),
        // Seeds that others cannot compare theirs to.
        seeds_for(swapped, |_, seeds_for| {
            seeds_for.commitments[0] = OTHER;
            true
        }),
        seeds_for(swapped, |_, seeds_for| {
            seeds_for.commitments.clear();
            true
        }),
        seeds_for(swapped, |_, seeds_for| {
            seeds_for.boxes.swap(0, 1);
            true
        }),
        seeds_for(
            |refusal| stale(refusal, Kind::Contribution),
            |record, seeds_for| {
                let due = !record.results.is_empty();
                if due {
                    seeds_for.contribution = contributions(record)[0].0.clone();
                }
                due
            },
        ),
    ];
    lie(&consortium, "a,b,c,d,e", 2, lies);
}

#[test]
fn a_real_holder_votes_for_no_list_but_one_of_what_it_has_accepted() {
    let consortium = committee("a,b,c,d", "committee:3,2");
    let lies = vec![
        ballot(
            |refusal| {
                matches!(
                    refusal,
                    Refusal::TooFew {
                        found: 2,
                        min_nodes: 3
                    }
                )
            },
            |_, _, entries| entries.truncate(2),
        ),
        ballot(
            |refusal| doubled(refusal, Kind::Ballot),
            |_, _, entries| entries.swap(0, 1),
        ),
        ballot(
            |refusal| doubled(refusal, Kind::Ballot),
            |_, _, entries| entries[1] = entries[0],
        ),
        ballot(
            |refusal| stale(refusal, Kind::Ballot),
            |_, ctx, _| *ctx = OTHER,
        ),
        ballot(
            |refusal| matches!(refusal, Refusal::NotAccepted(_)),
            |_, _, entries| entries[3].contribution = OTHER,
        ),
    ];
    lie(&consortium, "a,b,c,d", 1, lies);
}

#[test]
fn a_real_holder_reveals_nothing_without_a_certificate_of_enough_votes_for_its_list() {
    let consortium = committee("a,b,c,d", "committee:3,2");
    let (holder, other) = (consortium.identity("c"), consortium.identity("d"));
    // The vote of c in an order becomes one for these contributors, in this context.
    let vote_of_c = move |ctx: Option<Digest>, contributors: Option<Digest>| {
        let holder = holder.clone();
        move |record: &Record, order: Order<'_>| {
            let c = record.id("c");
            let mut votes = order.votes.iter_mut();
            let vote = votes.find(|vote| record.opened(vote).holder == c).unwrap();
            let of_c = record.opened(vote);
            let of_c = Vote {
                ctx: ctx.unwrap_or(of_c.ctx),
                contributors: contributors.unwrap_or(of_c.contributors),
                ..of_c
            };
            *vote = signed(&of_c, &holder);
            true
        }
    };
    let forger = other.clone();
    let lies = vec![
        order(
            |refusal| {
                matches!(
                    refusal,
                    Refusal::Votes {
                        found: 0,
                        needed: 3
                    }
                )
            },
            |_, order| {
                order.votes.clear();
                true
            },
        ),
        order(
            |refusal| {
                matches!(
                    refusal,
                    Refusal::Votes {
                        found: 2,
                        needed: 3
                    }
                )
            },
            |_, order| order.votes.pop().is_some(),
        ),
        order(
            |refusal| doubled(refusal, Kind::Vote),
            |_, order| {
                order.votes[1] = order.votes[0].clone();
                true
            },
        ),
        order(
            |refusal| matches!(refusal, Refusal::Stranger(_)),
            move |record, order| {
                let foreign = Vote {
                    holder: record.id("d"),
                    ..record.opened(&order.votes[0])
                };
                order.votes[0] = signed(&foreign, &other);
                true
            },
        ),
        order(
            |refusal| invalid(refusal, Kind::Vote),
            move |record, order| {
                order.votes[0] = signed(&record.opened(&order.votes[0]), &forger);
                true
            },
        ),
        order(
            |refusal| of_others(refusal, Kind::Vote),
            vote_of_c(None, Some(OTHER)),
        ),
        order(
            |refusal| stale(refusal, Kind::Vote),
            vote_of_c(Some(OTHER), None),
        ),
        // All votes as they are, for a list without one of the contributors.
        order(
            |refusal| of_others(refusal, Kind::Vote),
            |_, order| order.entries.pop().is_some(),
        ),
        order(
            |refusal| stale(refusal, Kind::Reveal),
            |_, order| {
                *order.ctx = OTHER;
                true
            },
        ),
        // Classes that it does not hold, which are the others' to reveal; none at all.
        order(
            |refusal| matches!(refusal, Refusal::Classes { .. }),
            |record, order| {
                let committee = record.manifest.committee().unwrap();
                *order.classes = committee.classes().all();
                true
            },
        ),
        order(
            |refusal| matches!(refusal, Refusal::Classes { .. }),
            |_, order| {
                *order.classes = ClassSet::default();
                true
            },
        ),
        // The certificate of the round before.
        order(
            |refusal| stale(refusal, Kind::Vote),
            |record, order| {
                let due = !record.results.is_empty();
                if due {
                    *order.votes = votes(record, |vote| vote.ctx == record.results[0].0.ctx);
                }
                due
            },
        ),
    ];
    lie(&consortium, "a,b,c,d", 2, lies);
}

/// Has e, which is in league with the relay, sign as its own what another has sealed, for the
/// victim; its true word comes after that.
struct Resubmission {
    traitor: Identity,
    faults: Sender<Fault>,
    /// What the victim should have got of e, until it does.
    held: Option<SealedSeeds>,
    told: bool,
}

impl Attack for Resubmission {
    fn send(&mut self, record: &Record, to: NodeId, parcels: &mut Vec<Parcel>) {
        let [Parcel::Frame(RelayFrame::SealedSeeds(seeds_for))] = &parcels[..] else {
            return;
        };
        if self.told || record.name(to) != VICTIM {
            return;
        }
        if record.name(record.opened(&seeds_for.contribution).node) == "e" {
            self.held = Some(seeds_for.clone());
            parcels.clear();
        }
        // Whoever else has contributed by now will do.
        let Some(held) = &self.held else {
            return;
        };
        let Some((other, _, envelope)) = anothers(record, held) else {
            return;
        };
        let stolen = Contribution {
            node: record.id("e"),
            ..other
        };
        let contribution = signed(&stolen, &self.traitor);
        let seeds_for = envelope.seeds_for(&contribution, place(record)).unwrap();
        parcels.push(Parcel::Frame(RelayFrame::SealedSeeds(seeds_for)));
        self.told = true;
    }

    fn receive(
        &mut self,
        record: &Record,
        from: NodeId,
        frame: &NodeFrame,
    ) -> Option<Vec<(NodeId, Parcel)>> {
        let NodeFrame::Receipt(receipt) = frame else {
            return None;
        };
        let fault = record.opened(receipt).fault?;
        assert_eq!(record.name(from), VICTIM);
        // The test may know all that it wants.
        let _ = self.faults.send(fault);
        let seeds_for = self.held.take()?;
        Some(vec![(
            from,
            Parcel::Frame(RelayFrame::SealedSeeds(seeds_for)),
        )])
    }
}

#[test]
fn a_real_holder_does_not_take_one_nodes_seeds_for_anothers() {
    let consortium = committee("a,b,c,d,e", "committee:4,1");
    let (faults, found) = channel();
    let attack = Resubmission {
        traitor: consortium.identity("e"),
        faults,
        held: None,
        told: false,
    };
    let run = Run::start(&consortium, "a,b,c,d,e", 1, attack);
    let next = || found.recv_timeout(PATIENCE).unwrap();
    // What it was sealed for is not what is claimed; and it was e's first word, so that its true
    // one comes too late.
    assert_eq!(next(), Fault::Box);
    assert_eq!(next(), Fault::Second);
    // The other three are a quorum.
    assert_eq!(run.completes(), []);
}
