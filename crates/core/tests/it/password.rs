use counterfoil_core::password::WeakPassword::{self, Common, SameAsEmail, TooLong, TooShort};
use counterfoil_core::{EmailAddress, Password};

fn choose(text: &str) -> Result<Password, WeakPassword> {
    let email: EmailAddress = "lovelace.ada@example.com".parse().expect("a valid address");
    Password::choose(text.to_owned(), &email)
}

#[test]
fn lengths_count_characters_and_nothing_is_cut() {
    let distinct = |count: usize| "aЖ7🔑kp".chars().cycle().take(count).collect::<String>();
    assert_eq!(choose(""), Err(TooShort));
    assert_eq!(choose(&distinct(7)), Err(TooShort));
    assert_eq!(choose(&distinct(8)).unwrap().expose(), distinct(8));
    assert_eq!(choose(&distinct(128)).unwrap().expose(), distinct(128));
    assert_eq!(choose(&distinct(129)), Err(TooLong));
    assert_eq!(choose(&"x".repeat(10_000_000)), Err(TooLong));
}

#[test]
fn there_are_no_rules_of_composition() {
    for text in [
        "SecurePass123",
        "three random words",
        "        a b c",
        "пароль-длинный",
        "1qaz7 2wsx",
        "ab\u{0}cdefgh",
        "xqzxqzxq",
    ] {
        assert_eq!(choose(text).unwrap().expose(), text, "spaces and all");
    }
}

#[test]
fn the_passwords_that_everybody_tries_first_are_refused_in_any_case() {
    for text in ["password", "PASSWORD", "PassWord", "12345678", "qwertyuiop", "Iloveyou", "!QAZ2wsx", "password1"] {
        assert_eq!(choose(text), Err(Common), "{text}");
    }
    for text in ["aaaaaaaa", "AbABabab", "        ", "........x"] {
        assert_eq!(choose(text), Err(Common), "{text:?}");
    }
}

#[test]
fn the_own_address_is_no_password() {
    for text in ["lovelace.ada@example.com", "Lovelace.Ada@Example.com", "lovelace.ada", "LOVELACE.ADA"] {
        assert_eq!(choose(text), Err(SameAsEmail), "{text}");
    }
    assert!(choose("lovelace.ada!").is_ok());
}

#[test]
fn the_list_is_sorted_folded_and_has_no_entry_that_could_never_match() {
    let list: Vec<&str> = include_str!("../../data/common-passwords.txt").lines().collect();
    assert!(list.len() >= 3000);
    assert!(list.is_sorted());
    for entry in list {
        assert_eq!(entry, entry.to_lowercase());
        assert!(entry.chars().count() >= 8 && entry == entry.trim_end_matches('\r'), "{entry:?}");
        assert_eq!(choose(entry), Err(Common), "{entry:?}");
    }
}

#[test]
fn a_password_hides_from_debug() {
    assert_eq!(format!("{:?}", choose("three random words").unwrap()), "Password(…)");
}
