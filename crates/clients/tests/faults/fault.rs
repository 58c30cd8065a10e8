//! What may go wrong with one request, and what that may be taken for.

/// One thing that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nobody listens.
    Refused,
    /// The server's TLS answer is none.
    TlsGarbage,
    /// The connection ends within the handshake.
    TlsCut,
    /// Nobody whom we trust vouches for the server's certificate.
    TlsUntrusted,
    /// The request is read and the connection reset.
    Reset,
    /// The connection is reset in the middle of the answer.
    ResetInBody,
    /// The answer ends before its announced length.
    WrongLength,
    /// The answer comes byte by byte, slower than anybody can wait.
    SlowLoris,
    /// No answer, and nothing was done.
    SilentUndone,
    /// No answer, and it was done.
    SilentDone,
    /// It was done and the connection closed.
    ClosedDone,
    /// A body of a gigabyte.
    Endless,
    /// Ten megabytes of headers.
    HugeHeader,
    /// A hundred thousand nested lists.
    Deep,
    /// Half a JSON document.
    Truncated,
    /// JSON of another type.
    WrongType,
    /// A page, with 200.
    Page,
    /// A redirect to another place.
    Redirect,
    /// 429 with seconds to wait.
    LimitSeconds,
    /// 429 with a date to wait for.
    LimitDate,
    /// 429 and nothing more.
    Limit,
    /// 401.
    S401,
    /// 403.
    S403,
    /// 404 as a page.
    Page404,
    /// 404 in JSON.
    S404,
    /// 408.
    S408,
    /// 409.
    S409,
    /// 500.
    S500,
    /// 502 as a page.
    S502,
    /// 503.
    S503,
    /// 504.
    S504,
}

use Fault::{
    ClosedDone, Deep, Endless, HugeHeader, Limit, LimitDate, LimitSeconds, Page, Page404, Redirect, Refused,
    Reset, ResetInBody, S401, S403, S404, S408, S409, S500, S502, S503, S504, SilentDone, SilentUndone,
    SlowLoris, TlsCut, TlsGarbage, TlsUntrusted, Truncated, WrongLength, WrongType,
};

/// All of them, in the order of the table's columns, each with its heading.
pub(crate) const ALL: &[(Fault, &str)] = &[
    (Refused, "refused"),
    (TlsGarbage, "TLS is garbage"),
    (TlsCut, "TLS cut"),
    (TlsUntrusted, "TLS untrusted"),
    (Reset, "reset before the answer"),
    (ResetInBody, "reset in the body"),
    (WrongLength, "shorter than announced"),
    (SlowLoris, "slow loris"),
    (SilentUndone, "timeout, not done"),
    (SilentDone, "timeout, done"),
    (ClosedDone, "closed, done"),
    (Endless, "1 GiB body"),
    (HugeHeader, "10 MiB of headers"),
    (Deep, "100,000 nested lists"),
    (Truncated, "truncated JSON"),
    (WrongType, "wrong type"),
    (Page, "200 page"),
    (Redirect, "redirect"),
    (LimitSeconds, "429 in 7 s"),
    (LimitDate, "429 until a date, 60 s"),
    (Limit, "429"),
    (S401, "401"),
    (S403, "403"),
    (Page404, "404 page"),
    (S404, "404 JSON"),
    (S408, "408"),
    (S409, "409"),
    (S500, "500"),
    (S502, "502 page"),
    (S503, "503"),
    (S504, "504"),
];

impl Fault {
    /// Whether it happens before anything of the request has left.
    pub(crate) fn is_before_sending(self) -> bool {
        matches!(self, Refused | TlsGarbage | TlsCut | TlsUntrusted)
    }

    /// Whether the client must wait until its patience ends.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, SlowLoris | SilentUndone | SilentDone)
    }

    /// Whether it is a fault of the handshake, which there is only one of.
    pub(crate) fn is_tls(self) -> bool {
        matches!(self, TlsGarbage | TlsCut | TlsUntrusted)
    }

    /// Whether the request has left and no answer, or half of one, came back.
    pub(crate) fn loses_the_answer(self) -> bool {
        matches!(
            self,
            Reset
                | ResetInBody
                | WrongLength
                | SlowLoris
                | SilentUndone
                | SilentDone
                | ClosedDone
                | Endless
                | HugeHeader
        )
    }

    /// Whether it is an answer that says "done" in words that cannot be understood.
    pub(crate) fn is_unreadable_success(self) -> bool {
        matches!(self, Deep | Truncated | WrongType | Page)
    }

    /// Whether the server says that it failed inside.
    pub(crate) fn is_failure_inside(self) -> bool {
        matches!(self, S408 | S500 | S502 | S503 | S504)
    }
}
