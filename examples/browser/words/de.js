/** @type {import("./words.js").Texts} */
export const de = {
  language: "Deutsch",
  title: "Wie alt wirkt Ihr Blut?",
  lead: "Neun übliche Blutwerte, Ihr Alter und Ihr Geschlecht ergeben ein biologisches Alter: das Alter, in dem ein typischer Mensch Ihr Sterberisiko hat.",
  private: "Alles wird auf diesem Gerät berechnet. Kein Wert verlässt diese Seite.",
  not_a_diagnosis: "Das ist keine Diagnose.",
  "nav.language": "Sprache",
  "nav.units": "Einheiten",
  "units.us": "US",
  "units.si": "SI",
  steps: "Schritte",
  "step.enter": "Eingeben",
  "step.check": "Prüfen",
  "step.result": "Ergebnis",
  skip: "Zum Inhalt springen",

  "before.title": "Bevor Sie beginnen",
  "before.question": "Trifft im Moment etwas davon auf Sie zu?",
  "before.pregnant": "schwanger",
  "before.ill": "akut krank, jetzt oder in den letzten zwei Wochen",
  "before.dialysis": "Dialyse",
  "before.young": "jünger als 20",
  "before.none": "Nein, nichts davon",
  "before.some": "Ja, mindestens eines",
  "before.why":
    "Dann würde diese Rechnung Sie in die Irre führen. Sie beruht auf Erwachsenen, auf die das nicht zutraf, und schon das allein verändert Blutwerte. Geht es vorüber, kommen Sie mit späteren Werten wieder. Fragen zu Ihren Werten beantwortet Ihre Ärztin oder Ihr Arzt.",
  "before.missing": "Bitte beantworten Sie zuerst diese Frage.",

  "report.title": "Befund einfügen, ablegen oder auswählen",
  "report.words":
    "Ein PDF aus dem Laborportal, kopierter Text, eine Tabelle (CSV), FHIR oder der Export von Apple Health. Er wird auf diesem Gerät gelesen. Sie prüfen, was gelesen wurde, bevor es verwendet wird.",
  "report.paste": "Text des Befunds",
  "report.read": "Diesen Text lesen",
  "report.choose": "Datei auswählen",
  "report.drop": "oder irgendwo auf dieser Seite ablegen",
  "report.reading": "Der Befund wird gelesen.",

  "you.title": "Sie",
  "you.age": "Alter",
  "you.years": "Jahre",
  "you.sex": "Geschlecht",
  "sex.female": "weiblich",
  "sex.male": "männlich",
  "values.enter": "Ihre Blutwerte",
  "values.hint":
    "Lassen Sie weg, was nicht gemessen wurde. Es wird dann geschätzt, und das Ergebnis ist weniger sicher.",
  "field.unit": "Einheit: {name}",
  "field.example": "z. B. {value}",
  "field.not_a_number": "Das ist keine Zahl.",
  "field.two_numbers": "Das können zwei verschiedene Zahlen sein.",
  "field.limit": "Geben Sie nur die Zahl ein, oder lassen Sie den Wert weg.",
  "field.age": "Das Alter muss zwischen {low} und {high} Jahren liegen.",
  "field.outside": "Nicht möglich: Der Wert muss zwischen {low} und {high} {unit} liegen.",
  "field.rare": "Sehr selten: Fast alle haben {low} bis {high} {unit}.",
  "field.meant": "Meinten Sie {value} {unit}?",
  "enter.example": "Ein Beispiel zeigen",
  "enter.clear": "Alles löschen",
  "enter.show": "Mein Ergebnis zeigen",
  "enter.count": "{count} von {all} Werten",
  "enter.need_age": "Geben Sie Ihr Alter ein.",
  "enter.need_sex": "Wählen Sie Ihr Geschlecht.",
  "enter.need_value": "Geben Sie mindestens einen Blutwert ein.",
  "enter.need_fix": "Zuerst berichtigen oder leeren: {names}.",
  "enter.loading": "Das Modell wird geladen.",

  "name.crp": "C-reaktives Protein",
  "abbr.crp": "CRP, hs-CRP",
  "hint.crp": "Entzündung",
  "name.hba1c": "Glykiertes Hämoglobin",
  "abbr.hba1c": "HbA1c, Langzeitzucker",
  "hint.hba1c": "Blutzucker der letzten drei Monate",
  "name.creatinine": "Kreatinin",
  "abbr.creatinine": "Krea",
  "hint.creatinine": "Nieren und Muskeln",
  "name.albumin": "Albumin",
  "abbr.albumin": "Alb",
  "hint.albumin": "Leber, Ernährung, Entzündung",
  "name.lymphocyte_pct": "Lymphozyten in Prozent",
  "abbr.lymphocyte_pct": "LYM %",
  "hint.lymphocyte_pct": "ihr Anteil an den weißen Blutzellen",
  "name.rdw": "Erythrozyten-Verteilungsbreite",
  "abbr.rdw": "RDW-CV, EVB",
  "hint.rdw": "wie verschieden groß die roten Blutzellen sind",
  "name.ggt": "Gamma-Glutamyltransferase",
  "abbr.ggt": "GGT, Gamma-GT",
  "hint.ggt": "Leber und Gallenwege",
  "name.ast": "Aspartat-Aminotransferase",
  "abbr.ast": "AST, GOT, ASAT",
  "hint.ast": "Leber, Muskeln, Herz",
  "name.alt": "Alanin-Aminotransferase",
  "abbr.alt": "ALT, GPT, ALAT",
  "hint.alt": "Leber",

  "check.title": "Steht das so in Ihrem Befund?",
  "check.count":
    "{count} von {all} Werten wurden gelesen. Vergleichen Sie sie mit Ihrem Befund, und berichtigen Sie, was nicht stimmt.",
  "check.who":
    "Diese Datei enthält Werte von {count} Personen. Wessen Werte möchten Sie verwenden?",
  "check.person": "Person {id}",
  "check.values": "{count} Werte",
  "check.source": "Zeile: {source}",
  "check.drawn": "Blutentnahme am {date}",
  "check.unused": "Was nicht verwendet wurde, und warum",
  "check.others": "Andere Tests, die nicht zu den neun gehören: {names}",
  "check.more": "und {count} weitere",
  "check.continue": "Stimmt so, Ergebnis zeigen",
  "check.back": "Zurück",
  "doubt.unit_guessed": "Es war keine Einheit angegeben. {unit} ist geraten: Bitte prüfen Sie das.",
  "doubt.limit_used":
    "Der Befund nennt nur eine Grenze, {sign} {value}. Die Grenze wird verwendet.",
  "unused.unit": "die Einheit {unit} kann nicht verwendet werden; möglich sind {units}",
  "unused.count": "das ist eine Anzahl von Zellen ({unit}), kein Anteil in Prozent",
  "unused.no_unit": "ohne Einheit kann es eine Anzahl von Zellen oder ein Anteil in Prozent sein",
  "unused.no_value": "ohne Wert: {text}",
  "unused.not_a_number": "der Wert ist keine Zahl: {text}",
  "unused.specimen": "nicht im Blut gemessen, sondern in: {specimen}",
  "unused.future": "das Datum liegt in der Zukunft: {date}",
  "unused.limit": "die Grenze {value} sagt zu wenig über den Wert",
  "unused.which_is_newest":
    "{value} {unit}: Es gibt mehrere, und ihre Daten sagen nicht, welcher der neueste ist",
  "unused.old": "mehr als ein Jahr älter als Ihr neuester Wert",
  "unused.older": "{value} {unit}: Es gibt einen neueren",
  "unused.same_time": "{value} {unit}: Ein anderer Wert desselben Tages wird verwendet",
  "unused.code": "der Code {code} gehört zu einem ähnlichen Test, der nicht verwendet werden kann",
  "unused.other_test": "ein anderer Test",
  "unused.health_records":
    "diese Datei sagt nur, wer Sie sind. Die Werte liegen im Ordner clinical-records: Legen Sie stattdessen den ganzen Export (ZIP) ab",
  "unused.fhir_code": "der Code gehört zu einem ähnlichen Test, der nicht verwendet werden kann",
  "unused.fhir_subject": "es steht nicht dabei, von welcher Person der Wert ist",
  "unused.fhir_status": "kein endgültiges Ergebnis",
  "unused.fhir_modifier": "auf eine Weise gekennzeichnet, die diese Seite nicht kennt",
  "unused.fhir_date": "ohne brauchbares Datum",
  "unused.fhir_no_value": "ohne Zahl",
  "unused.fhir_comparator": "das Vergleichszeichen ist nicht bekannt",
  "unused.fhir_unit": "die Einheit kann nicht verwendet werden",
  "unused.fhir_implausible": "der Wert ist nicht möglich",
  "unused.fhir_limit": "eine Grenze, die zu wenig über den Wert sagt",
  "error.empty": "Es ist kein Text zum Lesen da.",
  "error.picture":
    "Das ist ein Bild, und diese Seite kann keine Bilder lesen. Die meisten Telefone können es: Öffnen Sie das Bild, kopieren Sie den Text heraus, und fügen Sie ihn hier ein. Oder tippen Sie die Werte ein.",
  "error.scan":
    "Dieses PDF ist ein Scan ohne Text, und diese Seite kann keine Bilder lesen. Kopieren Sie den Text mit einem anderen Programm heraus und fügen Sie ihn hier ein, oder tippen Sie die Werte ein.",
  "error.spreadsheet":
    "Das ist eine Arbeitsmappe. Speichern Sie sie als CSV, oder kopieren Sie ihre Zellen und fügen Sie sie ein.",
  "error.document":
    "Das ist ein Textdokument. Kopieren Sie den Text und fügen Sie ihn hier ein, oder speichern Sie es als PDF.",
  "error.broken_json":
    "Das sieht nach FHIR (JSON) aus, ist aber unvollständig. Exportieren Sie es noch einmal.",
  "error.fhir": "Diese FHIR-Datei kann nicht verwendet werden: {message}",
  "error.one_file": "Es kann nur eine Datei auf einmal gelesen werden.",
  "error.nothing_found":
    "Keiner der neun Werte wurde darin gefunden. Prüfen Sie, ob es der Laborbefund ist, oder tippen Sie die Werte ein.",
  "error.unreadable": "Diese Datei kann nicht gelesen werden.",
  "error.profile": "Das ist das Profil eines Labors. Legen Sie es auf Ihrem Ergebnis ab.",

  "result.example": "Beispielwerte (nicht Ihre)",
  "result.example_left": "Noch aus dem Beispiel, nicht Ihre: {names}",
  "headline.female": "Ihr Blut gleicht dem einer typischen Frau von {age} Jahren.",
  "headline.male": "Ihr Blut gleicht dem eines typischen Mannes von {age} Jahren.",
  "younger.female": "Von 100 Frauen Ihres Alters haben {count} ein jüngeres Ergebnis.",
  "younger.male": "Von 100 Männern Ihres Alters haben {count} ein jüngeres Ergebnis.",
  fewer_than_1: "weniger als 1",
  more_than_99: "mehr als 99",
  "result.number": "Biologisches Alter",
  "result.years": "Jahre",
  "result.interval": "In neun von zehn Fällen liegt Ihr übliches Niveau zwischen {low} und {high}.",
  "noise.within":
    "Sie sind {age}. Dieser Unterschied liegt im Rauschen einer einzelnen Blutentnahme.",
  "noise.younger":
    "Sie sind {age}. Das ist {years} Jahre jünger, mehr als das Rauschen einer Blutentnahme (±{noise}).",
  "noise.older":
    "Sie sind {age}. Das ist {years} Jahre älter, mehr als das Rauschen einer Blutentnahme (±{noise}).",
  "result.ordinary":
    "Der größte Teil dieses Unterschieds kommt daher, dass nichts aus der Reihe fällt. Das ist seltener, als es klingt: Die meisten haben mindestens einen ungewöhnlichen Wert, und wer keinen hat, lebt länger.",
  "people.female": "Jeder Punkt ist eine von 100 Frauen Ihres Alters",
  "people.male": "Jeder Punkt ist einer von 100 Männern Ihres Alters",
  "people.label":
    "Biologisches Alter von 100 Menschen Ihres Alters und Geschlechts, von {first} bis {last} Jahren. Ihr Ergebnis: {age}, Intervall {low} bis {high}. {count} von ihnen sind jünger.",
  "people.you": "Sie",
  "people.age": "Ihr Alter",

  "caution.title": "Das Wichtigste zuerst",
  "caution.critical": "Dieses Ergebnis braucht eine Ärztin oder einen Arzt, keinen Rechner",
  "caution.critical_value.above":
    "{name}: {value} {unit} liegt über {limit} {unit}. Zeigen Sie den Wert bald ärztlich vor, wenn das noch nicht geschehen ist.",
  "caution.critical_value.below":
    "{name}: {value} {unit} liegt unter {limit} {unit}. Zeigen Sie den Wert bald ärztlich vor, wenn das noch nicht geschehen ist.",
  "caution.what":
    "Es kann einen harmlosen Grund geben. Rufen Sie die Praxis oder das Labor an, wo das Blut abgenommen wurde, nennen Sie den Wert, und fragen Sie, was zu tun ist. Wenn Sie sich sehr krank fühlen, rufen Sie jetzt Hilfe.",
  "caution.age": "Das Modell kennt keine Menschen dieses Alters",
  "caution.age_outside_fitted":
    "Es beruht auf Menschen von {low} bis {high} Jahren. Mit {age} wäre seine Antwort geraten.",
  "caution.unlike_fitted":
    "Zusammen gleichen die Werte niemandem, auf dem das Modell beruht. Prüfen Sie jeden Wert und seine Einheit. Wenn sie stimmen, fragen Sie ärztlich nach, was sie bedeuten.",
  "caution.nothing_known": "Ohne einen Blutwert lässt sich kein Alter berechnen.",
  "caution.no_age": "Es werden kein Alter und kein Risiko gezeigt.",
  "caution.edit": "Werte prüfen",
  "caution.far": "{name} liegt weit außerhalb des Üblichen: {advice}",
  "advice.crp.high":
    "Ein solcher Wert kommt von einer Infektion oder einer anderen akuten Entzündung. Lassen Sie ihn wiederholen, wenn Sie gesund sind. Bei Fieber oder Schmerzen gehen Sie jetzt in eine Praxis.",
  "advice.hba1c.high":
    "Ab 39 mmol/mol (5,7 %) ist das Risiko für Diabetes erhöht, ab 48 (6,5 %) spricht man von Diabetes. Lassen Sie das abklären.",
  "advice.creatinine.high":
    "Die Nieren arbeiten vielleicht schlechter, oder es ist viel Muskulatur da. Fragen Sie ärztlich nach Ihrer Nierenfunktion.",
  "advice.albumin.low":
    "Eine Entzündung, die Leber, die Nieren oder die Ernährung können der Grund sein. Fragen Sie ärztlich nach.",
  "advice.lymphocyte_pct.low":
    "Eine Infektion oder ein Medikament wie Kortison kann der Grund sein. Lassen Sie den Wert wiederholen.",
  "advice.lymphocyte_pct.high":
    "Meist ist eine Virusinfektion der Grund. Lassen Sie den Wert wiederholen, und fragen Sie ärztlich nach, wenn er hoch bleibt.",
  "advice.rdw.high":
    "Häufig ist ein Mangel an Eisen, Vitamin B12 oder Folsäure der Grund. Fragen Sie nach dem übrigen Blutbild.",
  "advice.ggt.high":
    "Alkohol, Medikamente, eine Fettleber oder die Gallenwege können der Grund sein. Fragen Sie ärztlich nach.",
  "advice.ast.high":
    "Die Leber oder ein Muskel ist belastet; harter Sport genügt. Lassen Sie den Wert wiederholen, und fragen Sie ärztlich nach, wenn er hoch bleibt.",
  "advice.alt.high":
    "Die Leber ist belastet. Lassen Sie den Wert wiederholen, und fragen Sie ärztlich nach, wenn er hoch bleibt.",

  "values.title": "Ihre Werte, die wichtigsten zuerst",
  "values.words":
    "Der übliche Bereich umfasst fast alle gesunden Menschen. Die Jahre kommen daher, wie lange Menschen mit solchen Werten lebten, verglichen mit Menschen Ihres Alters und Geschlechts mit dem typischen Wert. Beides muss nicht übereinstimmen.",
  "value.usual": "Üblich: {low} bis {high}",
  "value.usual_below": "Üblich: unter {high}",
  "value.typical": "typisch in Ihrem Alter: {value}",
  "value.low": "niedrig",
  "value.high": "hoch",
  "value.missing": "nicht angegeben, aus den anderen geschätzt",
  "value.chart": "{value}; {usual}; typisch {typical}",
  "words.little": "Im üblichen Bereich. Der Wert ändert Ihr Ergebnis wenig.",
  "words.younger": "Im üblichen Bereich, und günstiger als in Ihrem Alter typisch.",
  "words.older":
    "Im üblichen Bereich, doch Menschen mit Ihrem Wert lebten etwas weniger lang als solche mit dem typischen.",
  "words.outside_no_years":
    "Außerhalb des üblichen Bereichs, auch wenn er hier kaum Jahre hinzufügt. Der Bereich kommt von gesunden Menschen, die Jahre davon, wie lange Menschen lebten. Er verdient trotzdem Beachtung:",
  "words.outside": "Außerhalb des üblichen Bereichs:",
  "words.harmless": "Außerhalb des üblichen Bereichs, auf der Seite, die selten ein Problem ist.",
  "values.little": "{count} weitere Werte, die wenig ändern",
  "values.rest": "Was kein einzelner Wert erklärt",
  "part.typical_values": "Alles zugleich gewöhnlich",
  "part.typical_values.words":
    "Wer bei allen bekannten Werten typisch ist, lebt länger als der typische Mensch, bei dem etwas aus der Reihe fällt. Jedes Ergebnis beginnt hier.",
  "part.ast_alt_ratio": "AST im Verhältnis zu ALT",
  "part.ast_alt_ratio.words": "Ihr Verhältnis sagt mehr als jeder für sich.",
  "part.interaction.words": "Beide zusammen zählen mehr oder weniger als ihre Summe.",
  "values.sum": "Ihr Alter {age} und alle Jahre zusammen: {result}",
  "years.signed": "{years} Jahre",

  "risk.title": "Die nächsten zehn Jahre",
  "risk.words.female":
    "Von {of} Frauen von {age} Jahren mit Werten wie Ihren sterben {count} innerhalb von zehn Jahren, woran auch immer. Von {of} typischen Frauen von {age} Jahren: {typical}.",
  "risk.words.male":
    "Von {of} Männern von {age} Jahren mit Werten wie Ihren sterben {count} innerhalb von zehn Jahren, woran auch immer. Von {of} typischen Männern von {age} Jahren: {typical}.",
  "risk.yours": "Wie Ihre",
  "risk.typical": "Typisch",
  "risk.of": "von {of}",
  "risk.cause": "Todesursache",
  "risk.picture": "{count} von {of} Menschen",
  "risk.source":
    "Wie bei Erwachsenen in den Vereinigten Staaten beobachtet. In anderen Ländern können die Risiken niedriger oder höher sein.",
  "cause.cardiovascular": "Herz und Gefäße",
  "cause.cancer": "Krebs",
  "cause.diabetes": "Diabetes",
  "cause.dementia": "Demenz",
  "cause.other": "Alle anderen Ursachen",

  "next.title": "Was ein weiterer Test brächte",
  "next.words":
    "Ihr Ergebnis ist auf ±{now} Jahre bekannt. Mit einem dieser Tests wären es im Mittel:",
  "next.all": "Alle neun Werte sind angegeben. Ihr Ergebnis ist auf ±{now} Jahre bekannt.",
  "next.years": "±{years} Jahre",

  "whatif.title": "Was wäre, wenn ein Wert anders wäre?",
  "whatif.words":
    "Hier stehen Werte, die man beeinflussen kann. Die Zahl gilt für Menschen, die sich in diesem einen Wert von Ihnen unterscheiden. Sie ist ein Zusammenhang, kein Versprechen: Niemand hat gezeigt, dass eine Änderung des Werts das Risiko ebenso stark ändert.",
  "whatif.none":
    "Keiner der Werte, die man beeinflussen kann, ist angegeben, oder er liegt zu weit außerhalb.",
  "whatif.changed": "{value} {unit}: {years} Jahre",
  "whatif.yours": "{value} {unit}: Ihr Wert",
  "whatif.reset": "Zurück zu Ihren Werten",

  "lab.title": "Das Profil Ihres Labors",
  "lab.words":
    "Labore messen etwas verschieden. Wenn Ihres ein Profil für dieses Modell hat, legen Sie die Datei hier ab: Die Unterschiede werden dann abgezogen, und das Ergebnis ist sicherer.",
  "lab.choose": "Profil auswählen",
  "lab.used":
    "Profil von {name}: {after} statt {before} Jahre, auf ±{width} statt ±{widthBefore} bekannt.",
  "lab.withheld": "Profil von {name}: Damit ist das Ergebnis nicht verlässlich.",
  "lab.remove": "Ohne Profil rechnen",
  "lab.not_a_profile": "Das ist kein Profil eines Labors.",
  "lab.other_model": "Dieses Profil gehört zu einem anderen Modell.",
  "lab.changed": "Dieses Profil wurde von Hand geändert und wird nicht verwendet.",

  "time.title": "Im Lauf der Zeit",
  "time.words":
    "Bewahren Sie Ergebnisse auf diesem Gerät auf, um zu sehen, ob sie sich ändern. Sie bleiben in diesem Browser, werden nirgendwohin gesendet, und Sie können sie hier löschen.",
  "time.drawn": "Tag der Blutentnahme",
  "time.keep": "Dieses Ergebnis auf diesem Gerät aufbewahren",
  "time.kept": "Aufbewahrt.",
  "time.list": "Aufbewahrte Ergebnisse",
  "time.row": "{date}: {age} Jahre ({low} bis {high})",
  "time.row_withheld": "{date}: nicht verlässlich, kein Alter",
  "time.delete": "Das Ergebnis vom {date} löschen",
  "time.delete_all": "Alle löschen",
  "time.delete_sure": "Wirklich alle aufbewahrten Ergebnisse löschen?",
  "time.export": "In eine Datei speichern",
  "time.import": "Aus einer Datei laden",
  "time.imported": "{count} Ergebnisse geladen.",
  "time.wrong_file": "Diese Datei enthält keine aufbewahrten Ergebnisse.",
  "time.no_store": "Dieser Browser lässt die Seite keine Ergebnisse aufbewahren.",
  "time.within":
    "Vom {from} bis {to}, verglichen mit Ihrem Alter: {years} Jahre. Das liegt im Rauschen zweier Blutentnahmen (±{noise}).",
  "time.beyond":
    "Vom {from} bis {to}, verglichen mit Ihrem Alter: {years} Jahre. Das ist mehr als das Rauschen zweier Blutentnahmen (±{noise}).",
  "time.chart": "Biologisches Alter bei {count} Blutentnahmen, mit Intervallen, neben Ihrem Alter",

  "share.title": "Zum Mitnehmen",
  "share.print": "Eine Seite drucken",
  "share.picture": "Als Bild speichern",
  "share.file": "Als Datei speichern",
  "share.edit": "Werte ändern",
  "share.again": "Von vorn beginnen",

  "sheet.title": "Biologisches Alter aus Blutwerten",
  "sheet.person": "{sex}, {age} Jahre",
  "sheet.drawn": "Blutentnahme am {date}",
  "sheet.printed": "gedruckt am {date}",
  "sheet.value": "Wert",
  "sheet.result": "Ergebnis",
  "sheet.usual": "Üblich",
  "sheet.typical": "In diesem Alter typisch",
  "sheet.years": "Jahre",
  "sheet.interval": "90-%-Intervall {low} bis {high}",
  "sheet.percentile": "jünger als {share} von 100 Menschen dieses Alters und Geschlechts",
  "sheet.method":
    "Methode: ein additives Modell aus neun Blutwerten, Alter und Geschlecht, angepasst an {people} Menschen mit Nachbeobachtung der Todesfälle ({data}). Das biologische Alter ist das Alter, in dem der typische Mensch (Median) dieses Geschlechts die Sterblichkeit dieser Person hat. Das Intervall umfasst eine zweite Blutentnahme, fehlende Werte, das Labor und die Anpassung.",
  "sheet.model": "Modell {name} {version} vom {date}, Prüfsumme {checkpoint}",

  "foot.use":
    "Für Forschung und Wohlbefinden. Keine Diagnose, und nicht für Entscheidungen über Behandlung, Versicherung oder Arbeit.",
  "foot.model": "Modell {name} {version}, aus {people} Menschen",
  "foot.draft": "Was Sie eingeben, bleibt in diesem Tab, bis Sie ihn schließen oder alles löschen.",
  "foot.offline": "Diese Seite funktioniert auch ohne Netz.",
};
