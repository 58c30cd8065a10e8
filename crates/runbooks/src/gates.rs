//! Gates that several runbooks share.

use allclear_core::Platform;
use allclear_engine::{Approval, Approvers, Gate};

/// A gate before something that cannot be taken back. Whoever started or holds the run does not pass it; who does, and for how
/// long the question stands, is the environment's to say. At least `needed` people agree.
pub(crate) fn before_no_return(on: &Platform, question: impl Into<String>, needed: u8) -> Gate<Approval> {
    let configured = &on.limits.dangerous;
    let approvers = Approvers {
        needed: needed.max(configured.needed),
        among: configured.among.clone(),
        not_the_requester: true,
    };
    let gate = Gate::new(question, Approval::Approve).answered_by(approvers);
    match configured.valid_for {
        // An approval is worth what was shown with it, and that gets old.
        Some(valid_for) => gate.expires(valid_for, Approval::Reject),
        None => gate,
    }
}
