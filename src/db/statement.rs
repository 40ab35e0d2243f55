//! Statements that stay prepared. What `sql_query` is given is parsed and planned anew each time; a statement with a
//! type of its own is planned once a connection. For what is asked with every request.

/// Makes a private type for a statement: its values, its result's columns, and its text in pieces: `{ TEXT }`,
/// `[value as SqlType]` for a value, `(part)` for a value that is a part of a statement itself. Without columns it is
/// such a part.
macro_rules! statement {
    ($(#[$doc:meta])* $name:ident $values:tt -> $out:ty; $($piece:tt)*) => {
        $crate::db::statement::statement! { $(#[$doc])* $name $values; $($piece)* }

        impl diesel::query_builder::Query for $name {
            type SqlType = $out;
        }

        impl diesel::RunQueryDsl<$crate::db::Conn> for $name {}
    };
    ($(#[$doc:meta])* $name:ident { $($field:ident: $rust:ty),* $(,)? }; $($piece:tt)*) => {
        $(#[$doc])*
        #[derive(diesel::query_builder::QueryId)]
        struct $name { $($field: $rust),* }

        impl diesel::query_builder::QueryFragment<diesel::pg::Pg> for $name {
            fn walk_ast<'b>(
                &'b self,
                mut out: diesel::query_builder::AstPass<'_, 'b, diesel::pg::Pg>,
            ) -> diesel::QueryResult<()> {
                $($crate::db::statement::statement!(@ self, out, $piece);)*
                Ok(())
            }
        }
    };
    (@ $self:ident, $out:ident, { $text:expr }) => { $out.push_sql($text) };
    (@ $self:ident, $out:ident, [$field:ident as $sql:ty]) => {
        $out.push_bind_param::<$sql, _>(&$self.$field)?
    };
    (@ $self:ident, $out:ident, ($field:ident)) => {
        diesel::query_builder::QueryFragment::<diesel::pg::Pg>::walk_ast(&$self.$field, $out.reborrow())?
    };
}

pub(crate) use statement;

/// The text of a statement, with `$1` and so on for its values: for those who run the same one by other means.
pub(crate) fn text(statement: &impl diesel::query_builder::QueryFragment<diesel::pg::Pg>) -> String {
    let mut text = diesel::debug_query::<diesel::pg::Pg, _>(statement).to_string();
    if let Some(at) = text.rfind(" -- binds: ") {
        text.truncate(at);
    }
    text
}
