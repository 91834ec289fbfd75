//! Nothing that somebody signed in another's name counts.
//!
//! Enforces: docs/spec/fold.md §5, an update counts only by its puddle's own key or a grant; docs/spec/envelope.md §2, signatures.

use gitback_envelope::Verdict;

use super::super::world::World;

pub(super) const NAME: &str = "forged";

pub(super) fn check(world: &mut World) {
    let honest: Vec<usize> = world.honest().collect();
    for envoy in honest {
        if !world.replicas[envoy].up {
            continue;
        }
        for project in 0..world.plan.projects {
            let fold = &world.replicas[envoy].cells[project].fold;
            let forged = fold.iter().find(|envelope| {
                let signer = world.keys.find_signer(&envelope.statement().signer);
                let by_honest = signer.is_none_or(|signer| !world.is_malicious(signer));
                by_honest
                    && !world.book.has(envelope.id())
                    && fold.verdict(envelope.id()) == Verdict::Valid
            });
            if let Some(forged) = forged {
                let id = forged.id();
                let what = format!("{id} counts on envoy {envoy}, and its signer never said it");
                return world.fail(NAME, what);
            }
        }
    }
}
