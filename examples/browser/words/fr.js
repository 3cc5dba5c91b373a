/** @type {import("./words.js").Texts} */
export const fr = {
  language: "Français",
  title: "Quel âge votre sang paraît-il ?",
  lead: "Neuf valeurs sanguines courantes, votre âge et votre sexe donnent un âge biologique : l’âge auquel une personne typique a votre risque de décès.",
  private: "Tout est calculé sur cet appareil. Aucune valeur ne quitte cette page.",
  not_a_diagnosis: "Ceci n’est pas un diagnostic.",
  "nav.language": "Langue",
  "nav.units": "Unités",
  "units.us": "US",
  "units.si": "SI",
  steps: "Étapes",
  "step.enter": "Saisir",
  "step.check": "Vérifier",
  "step.result": "Résultat",
  skip: "Aller au contenu",

  "before.title": "Avant de commencer",
  "before.question": "Êtes-vous actuellement dans l’un de ces cas ?",
  "before.pregnant": "grossesse",
  "before.ill": "maladie aiguë, maintenant ou ces deux dernières semaines",
  "before.dialysis": "dialyse",
  "before.young": "moins de 20 ans",
  "before.none": "Non, aucun",
  "before.some": "Oui, au moins un",
  "before.why":
    "Ce calcul vous induirait alors en erreur. Il repose sur des adultes qui n’étaient pas dans ces cas, et ces états changent à eux seuls les valeurs du sang. Si c’est passager, revenez avec des valeurs plus tardives. Pour toute question sur vos valeurs, demandez à votre médecin.",
  "before.missing": "Répondez d’abord à cette question.",

  "report.title": "Coller, déposer ou choisir un compte rendu",
  "report.words":
    "Un PDF du portail du laboratoire, un texte copié, un tableau (CSV), FHIR ou l’export d’Apple Santé. Il est lu sur cet appareil. Vous vérifiez ce qui a été lu avant son utilisation.",
  "report.paste": "Texte du compte rendu",
  "report.read": "Lire ce texte",
  "report.choose": "Choisir un fichier",
  "report.drop": "ou le déposer n’importe où sur cette page",
  "report.reading": "Lecture du compte rendu.",

  "you.title": "Vous",
  "you.age": "Âge",
  "you.years": "ans",
  "you.sex": "Sexe",
  "sex.female": "féminin",
  "sex.male": "masculin",
  "values.enter": "Vos valeurs sanguines",
  "values.hint":
    "Laissez vide ce qui n’a pas été mesuré. La valeur est alors estimée, et le résultat est moins sûr.",
  "field.unit": "Unité : {name}",
  "field.example": "p. ex. {value}",
  "field.not_a_number": "Ce n’est pas un nombre.",
  "field.two_numbers": "Cela peut être deux nombres différents.",
  "field.limit": "Saisissez seulement le nombre, ou laissez vide.",
  "field.age": "L’âge doit être compris entre {low} et {high} ans.",
  "field.outside": "Impossible : la valeur doit être comprise entre {low} et {high} {unit}.",
  "field.rare": "Très rare : presque tout le monde a {low} à {high} {unit}.",
  "field.meant": "Vouliez-vous dire {value} {unit} ?",
  "enter.example": "Montrer un exemple",
  "enter.clear": "Tout effacer",
  "enter.show": "Voir mon résultat",
  "enter.count": "{count} valeurs sur {all}",
  "enter.need_age": "Saisissez votre âge.",
  "enter.need_sex": "Choisissez votre sexe.",
  "enter.need_value": "Saisissez au moins une valeur sanguine.",
  "enter.need_fix": "À corriger ou à vider d’abord : {names}.",
  "enter.loading": "Chargement du modèle.",

  "name.crp": "Protéine C réactive",
  "abbr.crp": "CRP, CRP us",
  "hint.crp": "inflammation",
  "name.hba1c": "Hémoglobine glyquée",
  "abbr.hba1c": "HbA1c",
  "hint.hba1c": "sucre sanguin des trois derniers mois",
  "name.creatinine": "Créatinine",
  "abbr.creatinine": "Créat",
  "hint.creatinine": "reins et muscles",
  "name.albumin": "Albumine",
  "abbr.albumin": "Alb",
  "hint.albumin": "foie, nutrition, inflammation",
  "name.lymphocyte_pct": "Lymphocytes en pourcentage",
  "abbr.lymphocyte_pct": "LYM %",
  "hint.lymphocyte_pct": "leur part dans les globules blancs",
  "name.rdw": "Indice de distribution des globules rouges",
  "abbr.rdw": "IDR, RDW-CV",
  "hint.rdw": "différences de taille des globules rouges",
  "name.ggt": "Gamma-glutamyltransférase",
  "abbr.ggt": "GGT, gamma-GT",
  "hint.ggt": "foie et voies biliaires",
  "name.ast": "Aspartate aminotransférase",
  "abbr.ast": "ASAT, TGO, AST",
  "hint.ast": "foie, muscles, cœur",
  "name.alt": "Alanine aminotransférase",
  "abbr.alt": "ALAT, TGP, ALT",
  "hint.alt": "foie",

  "check.title": "Est-ce bien ce que dit votre compte rendu ?",
  "check.count":
    "{count} valeurs sur {all} ont été lues. Comparez-les avec votre compte rendu et corrigez ce qui est faux.",
  "check.who":
    "Ce fichier contient les valeurs de {count} personnes. Lesquelles voulez-vous utiliser ?",
  "check.person": "Personne {id}",
  "check.values": "{count} valeurs",
  "check.source": "Ligne : {source}",
  "check.drawn": "Prise de sang du {date}",
  "check.unused": "Ce qui n’a pas été utilisé, et pourquoi",
  "check.others": "Autres analyses, hors des neuf : {names}",
  "check.more": "et {count} de plus",
  "check.continue": "C’est juste, voir mon résultat",
  "check.back": "Retour",
  "doubt.unit_guessed": "Aucune unité n’était indiquée. {unit} est une supposition : vérifiez.",
  "doubt.limit_used":
    "Le compte rendu n’indique qu’une limite, {sign} {value}. La limite est utilisée.",
  "unused.unit": "l’unité {unit} ne peut pas être utilisée ; possibles : {units}",
  "unused.count": "c’est un nombre de cellules ({unit}), pas une part en pourcentage",
  "unused.no_unit": "sans unité, cela peut être un nombre de cellules ou une part en pourcentage",
  "unused.no_value": "sans valeur : {text}",
  "unused.not_a_number": "la valeur n’est pas un nombre : {text}",
  "unused.specimen": "non mesuré dans le sang, mais dans : {specimen}",
  "unused.future": "la date est dans le futur : {date}",
  "unused.limit": "la limite {value} en dit trop peu sur la valeur",
  "unused.which_is_newest":
    "{value} {unit} : il y en a plusieurs, et leurs dates ne disent pas laquelle est la plus récente",
  "unused.old": "plus d’un an avant votre valeur la plus récente",
  "unused.older": "{value} {unit} : il y en a une plus récente",
  "unused.same_time": "{value} {unit} : une autre valeur du même jour est utilisée",
  "unused.code": "le code {code} est celui d’une analyse proche qui ne peut pas être utilisée",
  "unused.other_test": "une autre analyse",
  "unused.health_records":
    "ce fichier dit seulement qui vous êtes. Les valeurs sont dans le dossier clinical-records : déposez plutôt l’export entier (ZIP)",
  "unused.fhir_code": "le code est celui d’une analyse proche qui ne peut pas être utilisée",
  "unused.fhir_subject": "il n’est pas dit de quelle personne il s’agit",
  "unused.fhir_status": "ce n’est pas un résultat définitif",
  "unused.fhir_modifier": "marqué d’une façon que cette page ne connaît pas",
  "unused.fhir_date": "sans date utilisable",
  "unused.fhir_no_value": "sans nombre",
  "unused.fhir_comparator": "le signe de comparaison n’est pas connu",
  "unused.fhir_unit": "l’unité ne peut pas être utilisée",
  "unused.fhir_implausible": "la valeur est impossible",
  "unused.fhir_limit": "une limite qui en dit trop peu sur la valeur",
  "error.empty": "Il n’y a pas de texte à lire.",
  "error.picture":
    "C’est une image, et cette page ne sait pas lire les images. La plupart des téléphones le savent : ouvrez l’image, copiez le texte et collez-le ici. Ou saisissez les valeurs.",
  "error.scan":
    "Ce PDF est une numérisation sans texte, et cette page ne sait pas lire les images. Copiez le texte avec un autre programme et collez-le ici, ou saisissez les valeurs.",
  "error.spreadsheet":
    "C’est un classeur. Enregistrez-le en CSV, ou copiez ses cellules et collez-les.",
  "error.document":
    "C’est un document texte. Copiez son texte et collez-le ici, ou enregistrez-le en PDF.",
  "error.broken_json":
    "Cela ressemble à du FHIR (JSON), mais c’est incomplet. Exportez-le à nouveau.",
  "error.fhir": "Ce fichier FHIR ne peut pas être utilisé : {message}",
  "error.one_file": "Un seul fichier à la fois peut être lu.",
  "error.nothing_found":
    "Aucune des neuf valeurs n’y a été trouvée. Vérifiez qu’il s’agit du compte rendu du laboratoire, ou saisissez les valeurs.",
  "error.unreadable": "Ce fichier ne peut pas être lu.",
  "error.profile": "C’est le profil d’un laboratoire. Déposez-le sur votre résultat.",

  "result.example": "Valeurs d’exemple (pas les vôtres)",
  "result.example_left": "Encore de l’exemple, pas à vous : {names}",
  "headline.female": "Votre sang ressemble à celui d’une femme typique de {age} ans.",
  "headline.male": "Votre sang ressemble à celui d’un homme typique de {age} ans.",
  "younger.female": "Sur 100 femmes de votre âge, {count} ont un résultat plus jeune.",
  "younger.male": "Sur 100 hommes de votre âge, {count} ont un résultat plus jeune.",
  fewer_than_1: "moins de 1",
  more_than_99: "plus de 99",
  "result.number": "Âge biologique",
  "result.years": "ans",
  "result.interval": "Neuf fois sur dix, votre niveau habituel se situe entre {low} et {high}.",
  "noise.within": "Vous avez {age} ans. Cet écart est dans le bruit d’une seule prise de sang.",
  "noise.younger":
    "Vous avez {age} ans. C’est {years} ans plus jeune, plus que le bruit d’une prise de sang (±{noise}).",
  "noise.older":
    "Vous avez {age} ans. C’est {years} ans plus vieux, plus que le bruit d’une prise de sang (±{noise}).",
  "result.ordinary":
    "La plus grande part de cet écart vient de ce que rien ne sort de l’ordinaire. C’est plus rare qu’il n’y paraît : la plupart des gens ont au moins une valeur inhabituelle, et ceux qui n’en ont pas vivent plus longtemps.",
  "people.female": "Chaque point est l’une de 100 femmes de votre âge",
  "people.male": "Chaque point est l’un de 100 hommes de votre âge",
  "people.label":
    "Âges biologiques de 100 personnes de votre âge et de votre sexe, de {first} à {last} ans. Votre résultat : {age}, intervalle {low} à {high}. {count} d’entre elles sont plus jeunes.",
  "people.you": "vous",
  "people.age": "votre âge",

  "caution.title": "D’abord le plus important",
  "caution.critical": "Ce résultat demande un médecin, pas une calculatrice",
  "caution.critical_value.above":
    "{name} : {value} {unit} dépasse {limit} {unit}. Montrez-le bientôt à un médecin, si aucun ne l’a vu.",
  "caution.critical_value.below":
    "{name} : {value} {unit} est en dessous de {limit} {unit}. Montrez-le bientôt à un médecin, si aucun ne l’a vu.",
  "caution.what":
    "Il peut y avoir une raison sans gravité. Appelez le cabinet ou le laboratoire qui a pris le sang, donnez la valeur et demandez que faire. Si vous vous sentez très mal, appelez les secours maintenant.",
  "caution.age": "Le modèle ne connaît pas de personnes de cet âge",
  "caution.age_outside_fitted":
    "Il repose sur des personnes de {low} à {high} ans. À {age} ans, sa réponse serait une supposition.",
  "caution.unlike_fitted":
    "Ensemble, ces valeurs ne ressemblent à celles de personne sur qui repose le modèle. Vérifiez chaque valeur et son unité. Si elles sont justes, demandez à un médecin ce qu’elles signifient.",
  "caution.nothing_known": "Sans valeur sanguine, aucun âge ne peut être calculé.",
  "caution.no_age": "Aucun âge ni risque n’est affiché.",
  "caution.edit": "Vérifier les valeurs",
  "caution.far": "{name} est loin de l’habituel : {advice}",
  "advice.crp.high":
    "une telle valeur vient d’une infection ou d’une autre inflammation aiguë. Faites-la refaire une fois guéri. En cas de fièvre ou de douleurs, voyez un médecin maintenant.",
  "advice.hba1c.high":
    "à partir de 39 mmol/mol (5,7 %), le risque de diabète est accru ; à partir de 48 (6,5 %), on parle de diabète. Faites-le vérifier.",
  "advice.creatinine.high":
    "les reins travaillent peut-être moins bien, ou il y a beaucoup de muscle. Parlez de vos reins à un médecin.",
  "advice.albumin.low":
    "une inflammation, le foie, les reins ou l’alimentation peuvent en être la raison. Demandez à un médecin.",
  "advice.lymphocyte_pct.low":
    "une infection ou un médicament comme la cortisone peut en être la raison. Faites refaire l’analyse.",
  "advice.lymphocyte_pct.high":
    "une infection virale en est la raison la plus fréquente. Faites refaire l’analyse, et demandez à un médecin si elle reste élevée.",
  "advice.rdw.high":
    "un manque de fer, de vitamine B12 ou de folates en est souvent la raison. Demandez à un médecin le reste de la numération.",
  "advice.ggt.high":
    "l’alcool, des médicaments, un foie gras ou les voies biliaires peuvent en être la raison. Demandez à un médecin.",
  "advice.ast.high":
    "le foie ou un muscle est sollicité ; un effort intense suffit. Faites refaire l’analyse, et voyez un médecin si elle reste élevée.",
  "advice.alt.high":
    "le foie est sollicité. Faites refaire l’analyse, et voyez un médecin si elle reste élevée.",

  "values.title": "Vos valeurs, les plus importantes d’abord",
  "values.words":
    "L’intervalle habituel contient presque toutes les personnes en bonne santé. Les années viennent de la durée de vie des personnes ayant de telles valeurs, à côté de personnes de votre âge et de votre sexe ayant la valeur typique. Les deux peuvent ne pas concorder.",
  "value.usual": "Habituel : {low} à {high}",
  "value.usual_below": "Habituel : moins de {high}",
  "value.typical": "typique à votre âge : {value}",
  "value.low": "bas",
  "value.high": "élevé",
  "value.missing": "non indiqué, estimé d’après les autres",
  "value.chart": "{value} ; {usual} ; typique {typical}",
  "words.little": "Dans l’intervalle habituel. Change peu votre résultat.",
  "words.younger":
    "Dans l’intervalle habituel, et plus favorable que la valeur typique à votre âge.",
  "words.older":
    "Dans l’intervalle habituel, mais les personnes ayant votre valeur ont vécu un peu moins longtemps que celles ayant la valeur typique.",
  "words.outside_no_years":
    "Hors de l’intervalle habituel, bien que cela n’ajoute presque pas d’années ici. L’intervalle vient de personnes en bonne santé, les années de la durée de vie. Cela mérite quand même attention :",
  "words.outside": "Hors de l’intervalle habituel :",
  "words.harmless": "Hors de l’intervalle habituel, du côté qui pose rarement problème.",
  "values.little": "{count} autres valeurs, qui changent peu",
  "values.rest": "Ce qu’aucune valeur seule n’explique",
  "part.typical_values": "Tout ordinaire à la fois",
  "part.typical_values.words":
    "Qui a toutes ses valeurs connues typiques vit plus longtemps que la personne typique, chez qui quelque chose sort de l’ordinaire. Chaque résultat part de là.",
  "part.ast_alt_ratio": "ASAT par rapport à ALAT",
  "part.ast_alt_ratio.words": "Leur rapport en dit plus que chacune seule.",
  "part.interaction.words": "Les deux ensemble comptent plus ou moins que leur somme.",
  "values.sum": "Votre âge {age} et toutes les années ensemble : {result}",
  "years.signed": "{years} ans",

  "risk.title": "Les dix prochaines années",
  "risk.words.female":
    "Sur {of} femmes de {age} ans avec des valeurs comme les vôtres, {count} meurent dans les dix ans, toutes causes confondues. Sur {of} femmes typiques de {age} ans : {typical}.",
  "risk.words.male":
    "Sur {of} hommes de {age} ans avec des valeurs comme les vôtres, {count} meurent dans les dix ans, toutes causes confondues. Sur {of} hommes typiques de {age} ans : {typical}.",
  "risk.yours": "Comme vous",
  "risk.typical": "Typique",
  "risk.of": "sur {of}",
  "risk.cause": "Cause de décès",
  "risk.picture": "{count} personnes sur {of}",
  "risk.source":
    "Observé chez des adultes aux États-Unis. Dans d’autres pays, les risques peuvent être plus bas ou plus élevés.",
  "cause.cardiovascular": "Cœur et vaisseaux",
  "cause.cancer": "Cancer",
  "cause.diabetes": "Diabète",
  "cause.dementia": "Démence",
  "cause.other": "Toutes les autres causes",

  "next.title": "Ce qu’une analyse de plus apporterait",
  "next.words":
    "Votre résultat est connu à ±{now} ans près. Avec l’une de ces analyses, ce serait en moyenne :",
  "next.all": "Les neuf valeurs sont indiquées. Votre résultat est connu à ±{now} ans près.",
  "next.years": "±{years} ans",

  "whatif.title": "Et si une valeur était différente ?",
  "whatif.words":
    "Voici des valeurs que l’on peut changer. Le nombre est celui de personnes qui diffèrent de vous par cette seule valeur. C’est une association, pas une promesse : personne n’a montré que changer la valeur change autant le risque.",
  "whatif.none":
    "Aucune des valeurs que l’on peut changer n’est indiquée, ou elles sont trop éloignées.",
  "whatif.changed": "{value} {unit} : {years} ans",
  "whatif.yours": "{value} {unit} : votre valeur",
  "whatif.reset": "Revenir à vos valeurs",

  "lab.title": "Le profil de votre laboratoire",
  "lab.words":
    "Les laboratoires mesurent un peu différemment. Si le vôtre a un profil pour ce modèle, déposez son fichier ici : les différences sont alors retirées, et le résultat est plus sûr.",
  "lab.choose": "Choisir le profil",
  "lab.used":
    "Profil de {name} : {after} au lieu de {before} ans, connu à ±{width} au lieu de ±{widthBefore}.",
  "lab.withheld": "Profil de {name} : avec lui, le résultat n’est pas fiable.",
  "lab.remove": "S’en passer",
  "lab.not_a_profile": "Ce n’est pas le profil d’un laboratoire.",
  "lab.other_model": "Ce profil a été fait pour un autre modèle.",
  "lab.changed": "Ce profil a été modifié à la main et n’est pas utilisé.",

  "time.title": "Au fil du temps",
  "time.words":
    "Conservez des résultats sur cet appareil pour voir s’ils changent. Ils restent dans ce navigateur, ne sont envoyés nulle part, et vous pouvez les supprimer ici.",
  "time.drawn": "Jour de la prise de sang",
  "time.keep": "Conserver ce résultat sur cet appareil",
  "time.kept": "Conservé.",
  "time.list": "Résultats conservés",
  "time.row": "{date} : {age} ans ({low} à {high})",
  "time.row_withheld": "{date} : non fiable, pas d’âge",
  "time.delete": "Supprimer le résultat du {date}",
  "time.delete_all": "Tout supprimer",
  "time.delete_sure": "Supprimer vraiment tous les résultats conservés ?",
  "time.export": "Enregistrer dans un fichier",
  "time.import": "Charger un fichier",
  "time.imported": "{count} résultats chargés.",
  "time.wrong_file": "Ce fichier ne contient pas de résultats conservés.",
  "time.no_store": "Ce navigateur ne permet pas à la page de conserver des résultats.",
  "time.within":
    "Du {from} au {to}, par rapport à votre âge : {years} ans. C’est dans le bruit de deux prises de sang (±{noise}).",
  "time.beyond":
    "Du {from} au {to}, par rapport à votre âge : {years} ans. C’est plus que le bruit de deux prises de sang (±{noise}).",
  "time.chart": "Âge biologique à {count} prises de sang, avec intervalles, à côté de votre âge",

  "share.title": "À emporter",
  "share.print": "Imprimer une page",
  "share.picture": "Enregistrer en image",
  "share.file": "Enregistrer en fichier",
  "share.edit": "Modifier les valeurs",
  "share.again": "Recommencer",

  "sheet.title": "Âge biologique d’après des valeurs sanguines",
  "sheet.person": "{sex}, {age} ans",
  "sheet.drawn": "prise de sang du {date}",
  "sheet.printed": "imprimé le {date}",
  "sheet.value": "Valeur",
  "sheet.result": "Résultat",
  "sheet.usual": "Habituel",
  "sheet.typical": "Typique à cet âge",
  "sheet.years": "Années",
  "sheet.interval": "intervalle à 90 % : {low} à {high}",
  "sheet.percentile": "plus jeune que {share} personnes sur 100 de cet âge et de ce sexe",
  "sheet.method":
    "Méthode : un modèle additif de neuf valeurs sanguines, de l’âge et du sexe, ajusté sur {people} personnes avec suivi des décès ({data}). L’âge biologique est l’âge auquel la personne typique (médiane) de ce sexe a la mortalité de cette personne. L’intervalle couvre une seconde prise de sang, les valeurs manquantes, le laboratoire et l’ajustement.",
  "sheet.model": "Modèle {name} {version} du {date}, empreinte {checkpoint}",

  "foot.use":
    "Pour la recherche et le bien-être. Ni diagnostic, ni base de décisions de traitement, d’assurance ou de travail.",
  "foot.model": "Modèle {name} {version}, fait de {people} personnes",
  "foot.draft":
    "Ce que vous saisissez reste dans cet onglet jusqu’à ce que vous le fermiez ou effaciez tout.",
  "foot.offline": "Cette page fonctionne aussi hors ligne.",
};
