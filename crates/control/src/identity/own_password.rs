//! A user's own new password.

use super::sessions::{ACCESS, AccessClaims};
use super::{Origin, SESSION, USER, passwords, signing};
use crate::caller::Proof;
use crate::error::{Code, Kind};
use crate::{Caller, Control, Error};
use domain::decode::{Fields, Problems};
use ports::records::{SYSTEM, Write};
use serde_json::{Value, json};
use zeroize::Zeroizing;

struct Change {
    old: Zeroizing<String>,
    new: Zeroizing<String>,
}

impl Change {
    fn decode(given: &Value, username: &str) -> Result<Self, Error> {
        let mut problems = Problems::default();
        let decoded = Fields::of("", given, &mut problems).map(|mut fields| {
            let old = Zeroizing::new(fields.required_text("old_password", &mut problems));
            let new = Zeroizing::new(fields.required_text("new_password", &mut problems));
            if !new.is_empty() {
                passwords::judge("new_password", &new, username, &mut problems);
            }
            if !new.is_empty() && *old == *new {
                problems.note("new_password", "is the old one");
            }
            fields.done(&mut problems);
            Self { old, new }
        });
        decoded.filter(|_| problems.is_empty()).ok_or_else(|| Error::request(problems))
    }
}

impl Control {
    /// Body: `old_password`, `new_password`. Every session of the user ends but the one of `token`, with which it asks. A wrong old password counts as
    /// a failed log-in. API keys stay as they are, and cannot ask for this.
    pub async fn change_own_password(&self, caller: &Caller, token: Option<&str>, given: &Value, origin: &Origin) -> Result<(), Error> {
        let change = Change::decode(given, &caller.name)?;
        let open = self.required_identity()?;
        let id = caller.user.as_deref().filter(|_| caller.proof == Proof::Token).ok_or_else(not_in_person)?;
        let user = self.user_record(id).await?.ok_or_else(|| Error::not_found(USER, id))?;
        let stored = self.records().secret(SYSTEM, USER, id).await?.and_then(|v| v.as_str().map(str::to_owned));
        let turn = self.identity().passwords.turn().await?;
        self.may_try(&user.body.username, &origin.address).await?;
        if !turn.check(change.old, stored).await? {
            self.has_failed(&user.body.username, &origin.address).await?;
            let mut problems = Problems::default();
            problems.note("old_password", "is not your password");
            return Err(Error::request(problems));
        }
        let hash = self.identity().passwords.hash(change.new).await?;
        let claims = token.and_then(|t| open.keys.verify::<AccessClaims>(ACCESS, signing::ISSUER, t));
        let own = claims.map(|claims| claims.sid);
        let mut writes = vec![user.write(user.update()?.secret(Some(json!(hash))))];
        let ends = self.session_ends(id).await?;
        writes.extend(ends.into_iter().filter(|w| !matches!(w, Write::Update { kind, id, .. } if kind == SESSION && Some(id) == own.as_ref())));
        self.records().apply(writes).await?;
        self.identity().standings.forget();
        self.has_succeeded(&user.body.username, &origin.address).await
    }
}

fn not_in_person() -> Error {
    Error::new(Kind::Denied, Code::Denied, "Only somebody who has logged in can change the own password; an API key cannot")
}
