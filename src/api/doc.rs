//! What the OpenAPI document says of a route: a part of its row in the tables, so that no route is without it.

use utoipa::ToSchema;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::{Ref, RefOr};

/// The schemas that a type needs, by name, and how it is referred to.
pub type Shape = fn(&mut Vec<(String, RefOr<Schema>)>) -> RefOr<Schema>;

/// The shape of `T`, under its own name.
pub fn shape<T: ToSchema>(schemas: &mut Vec<(String, RefOr<Schema>)>) -> RefOr<Schema> {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
    RefOr::Ref(Ref::from_schema_name(T::name()))
}

/// The body of an answer.
#[derive(Clone, Copy)]
pub enum Gives {
    /// None.
    Nothing,
    /// Plain text.
    Text,
    /// A stream of events of this name, each of which holds this shape.
    Events(&'static str, Shape),
    /// A fault: the route is there for clients that ask for what the service does not have.
    Fault,
    /// An object of this shape.
    Whole(Shape),
    /// An object with one key, which holds this shape.
    One(&'static str, Shape),
    /// An object with one key, which holds an array of this shape.
    Many(&'static str, Shape),
    /// The same in pages, with links to the next one.
    Page(&'static str, Shape),
}

/// What the document says of a route.
#[derive(Clone, Copy)]
pub struct Doc {
    /// The operation's id.
    pub id: &'static str,
    /// One line.
    pub summary: &'static str,
    /// The page of api-ref that tells more.
    pub page: &'static str,
    /// The body of the request, and a sample of it.
    pub takes: Option<(Shape, &'static str)>,
    /// The code and the body of a success.
    pub gives: (u16, Gives),
    /// Another code, and its body, that is no fault.
    pub or: Option<(u16, Gives)>,
    /// Codes of refusals besides those of every route of its kind.
    pub refuses: &'static [u16],
    /// Keys of the query, and what they are.
    pub query: &'static [(&'static str, &'static str)],
}

/// The keys of the query of what comes in pages.
const PAGING: &[(&str, &str)] = &[
    ("limit", "The most elements; at least 1, and no more than the page size"),
    ("marker", "The last element of the page before"),
];

impl Doc {
    /// An answer of 200 with nothing; a summary, and the page that tells more.
    pub const fn new(id: &'static str, summary: &'static str, page: &'static str) -> Self {
        Self {
            id,
            summary,
            page,
            takes: None,
            gives: (200, Gives::Nothing),
            or: None,
            refuses: &[],
            query: &[],
        }
    }

    /// With this body in the request; `sample` is JSON.
    #[must_use]
    pub const fn takes<T: ToSchema>(mut self, sample: &'static str) -> Self {
        self.takes = Some((shape::<T>, sample));
        self
    }

    /// With this answer.
    #[must_use]
    pub const fn gives(mut self, code: u16, gives: Gives) -> Self {
        if let Gives::Page(..) = gives {
            self.query = PAGING;
        }
        self.gives = (code, gives);
        self
    }

    /// With this other answer, which is no fault.
    #[must_use]
    pub const fn or(mut self, code: u16, gives: Gives) -> Self {
        self.or = Some((code, gives));
        self
    }

    /// With these refusals besides.
    #[must_use]
    pub const fn refuses(mut self, codes: &'static [u16]) -> Self {
        self.refuses = codes;
        self
    }

    /// With these keys of the query.
    #[must_use]
    pub const fn query(mut self, keys: &'static [(&'static str, &'static str)]) -> Self {
        self.query = keys;
        self
    }
}

/// A sample of api-ref, as it stands there.
macro_rules! sample {
    ($name:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/api-ref/samples/", $name, ".json"))
    };
}

pub(crate) use sample;
