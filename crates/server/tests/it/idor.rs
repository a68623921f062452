//! Whoever asks for what belongs to somebody else hears what is said of things that do not exist: the same status, headers and bytes.
//!
//! The matrix is made from the description of the API and from the sources of the pages: each call, with each field that names
//! something of a customer's, as each kind of caller. A field that nobody has said the meaning of fails the test, so a new call is in
//! the matrix by being there.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use counterfoil::app::operators::{By, Scope};
use counterfoil::app::sessions::Arrival;
use counterfoil::store::sessions;
use regex::Regex;
use reqwest::Method;
use serde_json::{Map, Value, json};

use crate::actors::Visitor;
use crate::admin_routes::new_key;
use crate::client::{Answer, Http, form};
use crate::principals::{CALLS, PAGES, Principal};
use crate::tap::OPERATOR;
use crate::world::{World, id_of};

/// What may be told to anybody where the sandbox runs, and is not there elsewhere.
const SANDBOX_ONLY: &str = "/sandbox/mailbox";

/// What a field stands for.
enum Meaning {
    /// Something of a customer's: the victim's is tried against one that does not exist.
    Names(&'static str),
    /// Nothing of anybody's: this is sent.
    Says(Value),
}

/// The meaning of a field, by its name. `token` is what the call takes for one.
fn meaning(name: &str, principal: Word) -> Option<Meaning> {
    use Meaning::{Names, Says};
    Some(match name {
        "customer_id" | "session_id" | "activation_id" | "job_id" | "event_id" | "external_id" | "fingerprint" => {
            Names(KINDS.iter().find(|kind| **kind == name)?)
        }
        "attempt" => Names("attempt_id"),
        "email" | "new_email" => Names("email"),
        "token" if principal == Word::Customer(Principal::License) => Names("license"),
        "token" => Names("link"),
        // Of the vendor's, not of a customer's.
        "kid" | "key_id" => Says(json!(format!("key_{}", "0".repeat(32)))),
        "file" => Says(json!("1.jwt")),
        "rest" => Says(json!("nothing")),
        "password" | "current_password" | "new_password" => Says(json!("x")),
        "success_url" | "cancel_url" => Says(json!("http://localhost:3000/back")),
        "next" => Says(json!("/account")),
        "stripe-signature" => Says(json!("t=1,v1=00")),
        "license" | "text" => Names("license"),
        _ => return None,
    })
}

const KINDS: [&str; 7] =
    ["customer_id", "session_id", "activation_id", "job_id", "event_id", "external_id", "fingerprint"];

/// Whose word a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Customer(Principal),
    Operator(Scope),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    Json,
    Form,
    Header,
    /// The cookie that a link from a mail becomes.
    Cookie,
}

/// A field of a route, and what is sent in it unless it names something.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) place: Place,
    pub(crate) name: String,
    example: Option<Value>,
    required: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Route {
    method: Method,
    path: String,
    word: Word,
    pub(crate) fields: Vec<Field>,
}

impl Route {
    pub(crate) fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    fn is_page(&self) -> bool {
        PAGES.iter().any(|(path, _)| *path == self.path)
    }

    /// The kinds of things that its fields name.
    fn kinds(&self) -> Vec<(&Field, &'static str)> {
        let kind = |field: &Field| match meaning(&field.name, self.word) {
            Some(Meaning::Names(kind)) => Some(kind),
            _ => None,
        };
        self.fields.iter().filter_map(|field| Some((field, kind(field)?))).collect()
    }

    /// Fields that have to be sent and that nobody has said the meaning of.
    fn unexplained(&self) -> Vec<String> {
        let is_unknown =
            |field: &&Field| field.required && field.example.is_none() && meaning(&field.name, self.word).is_none();
        let named =
            |field: &Field| format!("{}: say in `meaning` what the field `{}` stands for", self.name(), field.name);
        self.fields.iter().filter(is_unknown).map(named).collect()
    }

    /// What is sent in a field that is not the one being tried.
    fn filling(&self, field: &Field, absent: &BTreeMap<&'static str, String>) -> Option<Value> {
        match meaning(&field.name, self.word) {
            Some(Meaning::Names(kind)) if field.required => Some(json!(absent[kind])),
            Some(Meaning::Names(_)) => None,
            Some(Meaning::Says(value)) => Some(value),
            None if field.required => field.example.clone(),
            None => None,
        }
    }

    pub(crate) async fn send(
        &self,
        http: &Http,
        tried: Option<(&Field, &str)>,
        absent: &BTreeMap<&'static str, String>,
    ) -> Answer {
        let (mut path, mut query, mut sent, mut headers) = (self.path.clone(), Vec::new(), Map::new(), Vec::new());
        for field in &self.fields {
            let value = match tried {
                Some((of, value)) if of.name == field.name => Some(json!(value)),
                _ => self.filling(field, absent),
            };
            let Some(value) = value else { continue };
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            match field.place {
                Place::Path => path = path.replace(&format!("{{{}}}", field.name), &text).replace("{*rest}", &text),
                Place::Query => query.push((field.name.clone(), text)),
                Place::Json => {
                    sent.insert(field.name.clone(), value);
                }
                Place::Form => {
                    sent.insert(field.name.clone(), json!(text));
                }
                Place::Header => headers.push((field.name.clone(), text)),
                Place::Cookie => headers.push(("cookie".to_owned(), format!("cf_link={text}"))),
            }
        }
        let pairs = |fields: &[(String, String)]| {
            form(&fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>())
        };
        if !query.is_empty() {
            path = format!("{path}?{}", pairs(&query));
        }
        let mut request = http.request(self.method.clone(), &path);
        if self.fields.iter().any(|field| field.place == Place::Json) {
            request = request.json(&sent);
        } else if self.method == Method::POST && self.is_page() {
            let fields: Vec<_> = sent
                .iter()
                .map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned()))
                .collect();
            request = request.header("content-type", "application/x-www-form-urlencoded").body(pairs(&fields));
        }
        for (name, value) in headers {
            request = request.header(name, value);
        }
        http.send(request).await
    }
}

/// All calls, from the description of the API.
async fn described(world: &World) -> Vec<Route> {
    let document = world.http.get("/api/openapi.json").await.accepted();
    let mut routes = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let word = match operation["x-scope"].as_str().and_then(Scope::parse) {
                Some(scope) => Word::Operator(scope),
                None => {
                    let listed = CALLS.iter().find(|(verb, at, _)| *verb == method.as_str() && at == path);
                    Word::Customer(listed.unwrap_or_else(|| panic!("{method} {path} has no principal")).2)
                }
            };
            routes.push(Route { method, path: path.clone(), word, fields: fields_of(&document, operation) });
        }
    }
    routes
}

fn fields_of(document: &Value, operation: &Value) -> Vec<Field> {
    let example = |value: &Value| value.get("example").or_else(|| value["examples"].get(0)).cloned();
    let mut fields: Vec<Field> = Vec::new();
    for each in operation["parameters"].as_array().into_iter().flatten() {
        let place = match each["in"].as_str() {
            Some("path") => Place::Path,
            Some("header") => Place::Header,
            _ => Place::Query,
        };
        let name = each["name"].as_str().expect("a name").to_owned();
        let required = place == Place::Path || each["required"] == true;
        fields.push(Field { place, name, example: example(each).or_else(|| example(&each["schema"])), required });
    }
    let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(reference.trim_start_matches('#')).expect("a schema");
        let needed: Vec<&str> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let required = needed.contains(&name.as_str());
            fields.push(Field { place: Place::Json, name: name.clone(), example: example(property), required });
        }
    }
    fields
}

/// All pages with each of their methods. They ignore fields that they do not know, so each is sent the fields of all of them.
pub(crate) fn pages() -> Vec<Route> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/web/portal");
    let router = std::fs::read_to_string(folder.join("mod.rs")).expect("the router");
    let (mut forms, mut queries) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(&folder).expect("the pages") {
        let path = entry.expect("a file").path();
        if path.extension().is_some_and(|found| found == "rs") {
            let text = std::fs::read_to_string(&path).expect("a source");
            forms.extend(struct_fields(&text, "Form"));
            queries.extend(struct_fields(&text, "Query"));
        }
    }
    for names in [&mut forms, &mut queries] {
        names.sort();
        names.dedup();
    }
    assert!(forms.len() >= 12 && queries.len() >= 5, "{forms:?} {queries:?}");
    let mut routes = Vec::new();
    for (path, principal) in PAGES {
        let rest = router.split_once(&format!(".route(\"{path}\"")).map_or("get(", |(_, rest)| rest);
        let own = rest.split(".route(").next().unwrap_or_default();
        for (verb, method, names, place) in
            [("get(", Method::GET, &queries, Place::Query), ("post(", Method::POST, &forms, Place::Form)]
        {
            if !own.contains(verb) {
                continue;
            }
            let in_path = path.split('{').skip(1).filter_map(|rest| rest.split_once('}')).map(|(name, _)| Field {
                place: Place::Path,
                name: name.trim_start_matches('*').to_owned(),
                example: None,
                required: true,
            });
            let others = names.iter().map(|name| Field { place, name: name.clone(), example: None, required: false });
            let mut fields: Vec<Field> = in_path.chain(others).collect();
            if principal == Principal::Mail {
                fields.retain(|field| field.name != "token");
                fields.push(Field { place: Place::Cookie, name: "token".to_owned(), example: None, required: false });
                if method == Method::GET {
                    fields.push(Field { place, name: "token".to_owned(), example: None, required: false });
                }
            }
            fields.dedup_by(|a, b| a.name == b.name && a.place == b.place);
            routes.push(Route { method, path: path.to_owned(), word: Word::Customer(principal), fields });
        }
    }
    routes
}

/// The fields of all structures whose names end so, as they are sent.
fn struct_fields(text: &str, suffix: &str) -> Vec<String> {
    let mut names = Vec::new();
    for rest in text.split("struct ").skip(1) {
        let Some((name, body)) = rest.split_once(" {\n") else { continue };
        if !name.ends_with(suffix) || name.contains(char::is_whitespace) {
            continue;
        }
        let mut renamed = None;
        for line in body.split("\n}").next().unwrap_or_default().lines().map(str::trim) {
            if let Some((_, to)) = line.split_once("rename = \"") {
                renamed = to.split('"').next().map(str::to_owned);
            } else if let Some((field, _)) =
                line.split_once(':').filter(|_| !line.starts_with("//") && !line.starts_with('#'))
            {
                names.push(renamed.take().unwrap_or_else(|| field.trim_start_matches("pub ").to_owned()));
            }
        }
    }
    names.sort();
    names.dedup();
    names
}

/// The victim: what is hers, and what is of the same form and nobody's.
pub(crate) struct Victim {
    pub(crate) visitor: Visitor,
    pub(crate) hers: BTreeMap<&'static str, String>,
    nobodys: BTreeMap<&'static str, String>,
    /// Whatever of hers nobody else may see.
    canaries: Vec<String>,
}

const EMAIL: &str = "bertha-canary@example.com";
const NOBODYS_EMAIL: &str = "nobody-canary@example.com";
const COMPANY: &str = "Bertha Canary Works";

async fn text(world: &World, sql: &'static str, customer_id: &str) -> String {
    world.app.db.query(sql).bind(customer_id).one().await.expect("a row").get("x").expect("a text")
}

impl Victim {
    pub(crate) async fn of(world: &World) -> Self {
        let mut bertha = world.customer(EMAIL).await;
        let name = "update customers set company_name = $2 where customer_id = $1";
        world.app.db.query(name).bind(&bertha.customer_id).bind(COMPANY).execute().await.expect("a name");
        bertha.subscribe(world, "professional").await;
        let machine = json!({ "token": bertha.license, "fingerprint": "4f:1c:33:canary", "name": "Berthas canary" });
        let activation = bertha.http.post("/api/licenses/activations", &machine).await.accepted();
        world.http.post("/api/customers/password/forgot", &json!({ "email": EMAIL })).await.accepted();
        world.settled().await;
        let id = bertha.customer_id.clone();
        let read = async |sql: &'static str| text(world, sql, &id).await;
        let mail = read("select effect_id as x from outbox where customer_id = $1 order by id limit 1").await;
        let event =
            "select event_id as x from webhook_inbox where event_id is not null and $1 <> '' order by id limit 1";
        let hers = BTreeMap::from([
            ("customer_id", id.clone()),
            ("session_id", read("select session_id as x from sessions where customer_id = $1").await),
            ("activation_id", activation["activation_id"].as_str().expect("an id").to_owned()),
            ("job_id", mail),
            ("event_id", read(event).await),
            ("external_id", world.stored(&bertha).await.stripe_customer_id.expect("a counterpart")),
            ("fingerprint", "4f:1c:33:canary".to_owned()),
            ("attempt_id", read("select attempt_id as x from checkout_attempts where customer_id = $1").await),
            ("email", EMAIL.to_owned()),
            // What is kept of the link, and what everybody can write under her name.
            ("link", read("select token_hash as x from account_tokens where customer_id = $1").await),
            ("license", unsigned(&bertha.license, |claims| claims)),
        ]);
        let mut nobodys: BTreeMap<_, _> = hers.iter().map(|(kind, id)| (*kind, altered(id))).collect();
        nobodys.insert("email", NOBODYS_EMAIL.to_owned());
        let (own, other) = (id.clone(), nobodys["customer_id"].clone());
        nobodys.insert("license", unsigned(&bertha.license, move |claims| claims.replace(&own, &other)));
        let mut canaries: Vec<String> = hers.values().cloned().collect();
        canaries.extend([COMPANY.to_owned(), "bertha".to_owned(), "Berthas canary".to_owned()]);
        canaries.push(bertha.http.token().expect("a session").to_owned());
        canaries
            .extend(bertha.licenses().await.iter().filter_map(|each| each["license_id"].as_str().map(str::to_owned)));
        canaries.push(bertha.license.rsplit('.').next().expect("a signature").to_owned());
        Self { visitor: bertha, hers, nobodys, canaries }
    }

    /// What she sees of her account. Mails are left out: whoever asks for a link to her address has one sent to her.
    async fn state(&self) -> Vec<Value> {
        let mut seen = Vec::new();
        for path in [
            "/api/customers/me",
            "/api/customers/sessions",
            "/api/licenses",
            "/api/licenses/activations",
            "/api/subscriptions/current",
        ] {
            seen.push(self.visitor.http.get(path).await.accepted());
        }
        seen
    }
}

/// Another id of the same form and length.
fn altered(id: &str) -> String {
    let (start, end) = id.split_at(id.len() - 6);
    let turned = end.chars().map(|c| match c {
        '0'..='8' => char::from(c as u8 + 1),
        '9' => '0',
        'a'..='e' | 'A'..='Y' => char::from(c as u8 + 1),
        'f' => 'a',
        other => other,
    });
    format!("{start}{}", turned.collect::<String>())
}

/// A licence as anybody can write it: with these claims, and a signature that is none.
fn unsigned(license: &str, change: impl Fn(String) -> String) -> String {
    let parts: Vec<&str> = license.split('.').collect();
    let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(parts[1]).expect("base64url")).expect("JSON");
    format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(change(claims)), "A".repeat(parts[2].len()))
}

/// Everything that was answered, without the id of the request and without what was asked for, which a page may repeat.
fn shown(answer: &Answer, asked: &str) -> (u16, Vec<String>, String) {
    let asked = asked.split('@').next().unwrap_or(asked);
    let id = answer.header("x-request-id").to_owned();
    let clean = |text: &str| {
        let text = if id.is_empty() { text.to_owned() } else { text.replace(&id, "(request)") };
        if asked.is_empty() { text } else { text.replace(asked, "(asked)") }
    };
    let mut headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, _)| !matches!(name.as_str(), "x-request-id" | "date" | "content-length"))
        .map(|(name, value)| format!("{name}: {}", clean(&String::from_utf8_lossy(value.as_bytes()))))
        .collect();
    headers.sort();
    (answer.status, headers, clean(&answer.body))
}

/// What two answers tell apart, and what of the victim's is in the first. That time passes, and that each request is made in a
/// session of its own, is no difference.
fn told(hers: (&Answer, &str), nobodys: (&Answer, &str), canaries: &[String]) -> Result<(), String> {
    let fleeting = Regex::new(r"\d{4}-\d\d-\d\dT[\d:.]+Z|ses_[0-9a-f]{32}").expect("a regular expression");
    let (real, absent) = (shown(hers.0, hers.1), shown(nobodys.0, nobodys.1));
    if (real.0, &real.1) != (absent.0, &absent.1) {
        return Err(format!("it tells what exists: {} {:?} and {} {:?}", real.0, real.1, absent.0, absent.1));
    }
    let bodies = [&real.2, &absent.2].map(|body| fleeting.replace_all(body, "(fleeting)").into_owned());
    if bodies[0] != bodies[1] {
        let same = bodies[0].chars().zip(bodies[1].chars()).take_while(|(a, b)| a == b).count();
        let there = bodies.map(|body| body.chars().skip(same.saturating_sub(40)).take(120).collect::<String>());
        return Err(format!("it tells what exists: {} {there:?}", real.0));
    }
    shows_nothing(hers.0, hers.1, canaries)
}

fn shows_nothing(answer: &Answer, asked: &str, canaries: &[String]) -> Result<(), String> {
    let (status, headers, body) = shown(answer, asked);
    let text = format!("{headers:?}\n{body}");
    match canaries.iter().find_map(|canary| Some((canary, text.find(canary.as_str())?))) {
        Some((canary, at)) => {
            let before: String = text[..at].chars().rev().take(80).collect::<Vec<_>>().into_iter().rev().collect();
            Err(format!("it shows `{canary}`: {status} …{before}"))
        }
        None => Ok(()),
    }
}

/// Who asks. A session is begun anew for each request, because some of them end it.
enum Asker {
    Nobody,
    Ada,
    Token(&'static str, String),
    Key(Scope, String),
}

impl Asker {
    fn name(&self) -> String {
        match self {
            Self::Nobody => "nobody".to_owned(),
            Self::Ada => "another customer".to_owned(),
            Self::Token(name, _) => (*name).to_owned(),
            Self::Key(scope, _) => format!("a key of the scope {}", scope.word()),
        }
    }

    /// Whether the route is open to this one, so that whoever it is may see what it shows.
    fn may(&self, word: Word) -> bool {
        match (self, word) {
            (Self::Key(scope, _), Word::Operator(needed)) => scope.allows(needed),
            (Self::Key(scope, _), Word::Customer(Principal::SessionOrBackend)) => scope.allows(Scope::Checkout),
            _ => false,
        }
    }

    /// Pages know no keys: one of them is enough to see that.
    fn is_worth_it(&self, route: &Route) -> bool {
        !route.is_page() || !matches!(self, Self::Key(scope, _) if *scope != Scope::Admin)
    }

    async fn http(&self, world: &World, ada: &Visitor) -> Http {
        let (mut http, token) = match self {
            Self::Nobody => (world.http.for_reader("a stranger"), None),
            Self::Ada => {
                let app = &world.app;
                let mut tx = app.db.begin().await.expect("a transaction");
                sessions::delete_all(&mut tx, &id_of(ada)).await.expect("an end of the sessions before");
                let session =
                    app.insert_session(&mut tx, &id_of(ada), &Arrival::unknown(), app.now()).await.expect("a session");
                tx.commit().await.expect("a commit");
                (world.http.for_reader(&ada.email), Some(session.token))
            }
            Self::Token(_, token) => (world.http.for_reader("a stranger"), Some(token.clone())),
            Self::Key(_, secret) => (world.http.for_reader(OPERATOR), Some(secret.clone())),
        };
        http.set_token(token);
        http
    }
}

async fn askers(world: &World, victim: &Victim) -> Vec<Asker> {
    let app = &world.app;
    let mut tx = app.db.begin().await.expect("a transaction");
    let ended =
        app.insert_session(&mut tx, &id_of(&victim.visitor), &Arrival::unknown(), app.now()).await.expect("a session");
    tx.commit().await.expect("a commit");
    app.log_out(&ended.token).await.expect("a logout");
    let mut askers = vec![
        Asker::Nobody,
        Asker::Ada,
        Asker::Token("her session that has ended", ended.token),
        Asker::Token("her customer id", victim.visitor.customer_id.clone()),
        Asker::Token("a forged key", "cfk_forged".to_owned()),
    ];
    for scope in Scope::ALL {
        askers.push(Asker::Key(scope, new_key(world, scope).await.secret));
    }
    askers
}

/// Somebody without the right to it is refused before any thing is looked for.
fn is_refused(route: &Route, asker: &Asker, answer: &Answer) -> bool {
    let needs_session = matches!(route.word, Word::Customer(Principal::Session | Principal::SessionOrBackend));
    // A page whose form has only one address leads back to where the form is.
    let leads_back = route.is_page() && route.method == Method::GET && answer.status == 303 && answer.body.is_empty();
    match (asker, route.word) {
        (Asker::Ada, Word::Customer(_)) => true,
        (_, Word::Operator(_)) => matches!(answer.status, 401 | 403),
        _ if !needs_session => true,
        _ if route.is_page() => leads_back || answer.status == 303 && answer.header("location").starts_with("/login"),
        _ => matches!(answer.status, 401 | 403),
    }
}

/// What is wrong with the answers of a route to one caller.
async fn wrong(world: &World, route: &Route, asker: &Asker, ada: &Visitor, victim: &Victim) -> Vec<String> {
    let answer = route.send(&asker.http(world, ada).await, None, &victim.nobodys).await;
    let mut wrong = Vec::new();
    if !is_refused(route, asker, &answer) {
        wrong.push(format!("it answers {}: {}", answer.status, answer.body));
    }
    wrong.extend(shows_nothing(&answer, "", &victim.canaries).err());
    for (field, kind) in route.kinds() {
        let (hers, nobodys) = (victim.hers[kind].as_str(), victim.nobodys[kind].as_str());
        let real = route.send(&asker.http(world, ada).await, Some((field, hers)), &victim.nobodys).await;
        let absent = route.send(&asker.http(world, ada).await, Some((field, nobodys)), &victim.nobodys).await;
        let told = told((&real, hers), (&absent, nobodys), &victim.canaries);
        wrong.extend(told.err().map(|problem| format!("`{}`: {problem}", field.name)));
    }
    wrong.into_iter().map(|problem| format!("{} as {}: {problem}", route.name(), asker.name())).collect()
}

async fn what_is_somebody_elses_is_answered_like_what_does_not_exist(world: &World) {
    let ada = world.customer("ada@example.com").await;
    // Else her own requests for further links would be too many at some time.
    let by = By::command_line("for a test").expect("a reason");
    world.app.verify_email_by(&id_of(&ada), &by).await.expect("a verified address");
    let victim = Victim::of(world).await;
    let before = victim.state().await;
    let askers = askers(world, &victim).await;
    let mut routes = described(world).await;
    routes.extend(pages());
    routes.retain(|route| !route.path.starts_with(SANDBOX_ONLY));
    let unexplained: Vec<String> = routes.iter().flat_map(Route::unexplained).collect();
    assert_eq!(unexplained, Vec::<String>::new());
    let (mut problems, mut compared) = (Vec::new(), BTreeMap::<&'static str, usize>::new());
    for route in &routes {
        for asker in askers.iter().filter(|asker| !asker.may(route.word) && asker.is_worth_it(route)) {
            problems.extend(wrong(world, route, asker, &ada, &victim).await);
            for (_, kind) in route.kinds() {
                *compared.entry(kind).or_default() += 1;
            }
        }
    }
    println!("{} routes, {} askers, comparisons: {compared:?}", routes.len(), askers.len());
    assert!(
        problems.is_empty(),
        "{} answers tell something, the first of them:\n{}",
        problems.len(),
        problems[..problems.len().min(20)].join("\n")
    );
    for kind in victim.hers.keys() {
        assert!(compared.contains_key(kind), "no route takes `{kind}`, or it was not tried: {compared:?}");
    }
    assert_eq!(victim.state().await, before, "nothing of hers has changed");
}

both_engines!(
    Setup { auth_required: true, settings: &[("COUNTERFOIL_RATE_LIMITS", "off")], ..Setup::default() };
    what_is_somebody_elses_is_answered_like_what_does_not_exist,
);

fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Answer {
    let mut all = reqwest::header::HeaderMap::new();
    for (name, value) in headers {
        all.insert(*name, value.parse().expect("a header"));
    }
    Answer { url: "a made up answer".to_owned(), status, headers: all, body: body.to_owned() }
}

#[test]
fn the_comparison_finds_each_way_to_tell() {
    let canaries = ["bertha".to_owned()];
    let same = answer(404, &[("x-request-id", "0a1b")], r#"{"code":"not_found","request_id":"0a1b"}"#);
    let absent = answer(404, &[("x-request-id", "77ff")], r#"{"code":"not_found","request_id":"77ff"}"#);
    told((&same, "act_1"), (&absent, "act_2"), &canaries).unwrap();
    told((&answer(200, &[], "you typed act_1"), "act_1"), (&answer(200, &[], "you typed act_2"), "act_2"), &canaries)
        .unwrap();
    let telling = [
        answer(403, &[], r#"{"code":"not_found","request_id":""}"#),
        answer(404, &[("x-request-id", "0a1b")], r#"{"code":"not_found ","request_id":"0a1b"}"#),
        answer(404, &[("x-request-id", "0a1b"), ("retry-after", "1")], r#"{"code":"not_found","request_id":"0a1b"}"#),
    ];
    for each in &telling {
        assert!(
            told((each, "act_1"), (&absent, "act_2"), &canaries).unwrap_err().contains("tells what exists"),
            "{each:?}"
        );
    }
    let shown = answer(404, &[], "bertha");
    assert!(told((&shown, "x"), (&shown, "x"), &canaries).unwrap_err().contains("shows `bertha`"));
    let shown = answer(303, &[("location", "/of/bertha")], "");
    assert!(shows_nothing(&shown, "", &canaries).is_err(), "a header shows as much as a body");
}

#[test]
fn a_route_with_a_field_of_no_known_meaning_is_found() {
    let field = |name: &str| Field { place: Place::Path, name: name.to_owned(), example: None, required: true };
    let route = |name: &str| Route {
        method: Method::GET,
        path: format!("/api/things/{{{name}}}"),
        word: Word::Customer(Principal::Session),
        fields: vec![field(name)],
    };
    assert!(route("thing_id").unexplained()[0].contains("`thing_id`"));
    assert!(route("session_id").unexplained().is_empty());
    assert_eq!(route("session_id").kinds().len(), 1);
}

#[test]
fn the_fields_of_forms_are_read_from_the_sources() {
    let source = "pub struct OneForm {\n    #[serde(default)]\n    a: String,\n    /// Why: so.\n    pub b: Option<String>,\n    \
                  #[serde(rename = \"try\")]\n    tries: u8,\n}\nstruct Other {\n    c: u8,\n}\nstruct TwoForm {\n    d: u8,\n}\n";
    assert_eq!(struct_fields(source, "Form"), ["a", "b", "d", "try"]);
    assert!(struct_fields(source, "Query").is_empty());
}
