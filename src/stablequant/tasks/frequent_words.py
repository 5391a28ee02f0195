"""Frequent words of languages in Latin script, by which `language` tells English from the others.

Words stand here without diacritics, as `language` compares them, so that text typed without any is known too. A word
may belong to several languages ("in", "die", "was"): it then speaks for each of them, and for English against none.
"""

from __future__ import annotations

#: Grammar, numbers, the calendar, and what telephone prompts and everyday talk are made of.
ENGLISH = frozenset(
    """
    a about after again all also always am an and another any anything are aren't around as at away back be because been
    before being better between both but by call called calls came can can't cannot come could couldn't day days did
    didn't different do does doesn't doing done don't down each else enough even ever every everything few find first
    followed for found from get getting give go going good got great had hadn't half has hasn't have haven't having he
    he'd he'll he's hear heard hello help her here here's hers hey him himself his hold how however i i'd i'll i'm i've if
    in into is isn't it it'd it'll it's its just keep kind knew know last later least leave left less let let's like
    little long look looking looks made make making many may maybe me mean might mind mine more morning most much must my
    myself need never new next nice night no nobody none nor not nothing now of off often oh ok okay old on once only onto
    or other our ours out over own people perhaps please put quite rather really right said same saw say says see seem
    seen shall she she'd she'll she's should shouldn't since so some somebody someone something somewhere soon sorry still
    stop such sure take talk tell than thank thanks that that's the their them then there there's these they they'd
    they'll they're they've thing things think this those though thought through time times to today together told tomorrow
    tonight too took try trying two under understand until up upon us use used very wait want wanted wants was wasn't way
    we we'd we'll we're we've well went were weren't what what's when where where's whether which while who who's whom
    whose why will wish with within without won't work world would wouldn't yeah year years yes yesterday yet you you'd
    you'll you're you've your yours yourself

    zero one three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty thirty forty fifty sixty seventy eighty ninety hundred thousand million billion second third fourth
    fifth sixth seventh eighth ninth tenth eleventh twelfth thirteenth fourteenth fifteenth sixteenth seventeenth
    eighteenth nineteenth twentieth thirtieth fortieth fiftieth sixtieth seventieth eightieth ninetieth hundredth
    thousandth

    sunday monday tuesday wednesday thursday friday saturday january february march april june july august september
    october november december o'clock hour hours minute minutes seconds week weeks month months

    activated added agent available busy caller calling cancelled changed conference connected currently deleted dial
    dialed directory disabled disconnected empty enabled enter entered error extension failed folder followed friends
    goodbye incorrect invalid key leave line local location lower lowercase mailbox member message messages name number
    numbers operator option options password pause paused person phone play playback pound press received record recorded
    recording removed reached repeat reset returned saved service speed star system telephone transfer tree unavailable
    upper uppercase urgent user voice wrong

    asterisk backslash colon comma dash dollar dollars dot equals hash minus percent plus quote semicolon slash space tick
    underscore
    """.split()
)

#: ISO 639-1 code -> its frequent words.
OTHERS = {
    code: frozenset(words.split())
    for code, words in {
        "af": """aan as baie by dat die dit een ek en het hierdie hulle hy in is jou jy kan met my na nie nog nou of om ons
            oor op sal se sy te teen tot uit van vandag vir voor waar was wat weet wees word""",
        "ca": """al amb aquest aquesta avui be com de del dels demana dos el els em en es esta fa fer gran ha hi i jo la les
            li llibre mes meu meva molt molta no o on per pel pero que quan que res se si son sense te ten tot un una vaig
            van vols""",
        "cs": """a aby ale ano by byl co do dobry dve i ja jako je jeho jen jeste ji jsem jsme jsou k kde kdo kdyz ktery ma
            mate me mi mam na nad ne nebo nem o od on ona pak po pod pro proc se si tak ten teto to tomu tri ty u uz v ve
            vsak za ze zitra""",
        "da": """af alle at bliver da de dem den der det dig du efter eller en er et fik for fra ham han har havde her hun
            hvad hvor hvis i igen ikke ind jeg kan kom kun man med meget men mig min nar ned ng noget nu og om op os pa sa
            sig skal som til tak var ved vi vil var ud""",
        "de": """aber alle als am an auch auf aus bei bin bis bist bitte da das dass dein dem den der des die dir doch du durch
            eine einem einen einer eins er es fur haben habe hat hatte hier ich ihm ihn ihr im in ist ja kann kein keine
            mein mich mir mit nach nein nicht noch nur oder schon sehr sein sich sie sind so uber um und uns unter vom von
            vor wann war was weil wenn wer wie wieder wir wird wo zu zum zur zwei""",
        "es": """a al algo antes asi aqui bien como con cual cuando de del desde donde dos el ella en entre era es esa ese esta
            este esto fue gracias ha hace hasta hay la las le les lo los mas me mi mucho muy nada ni no nos nunca o para
            pero por porque pues que quien se ser si sin sobre solo son su sus te tengo tiene todo tras tu un una uno usted
            va vamos ya yo""",
        "fi": """ei ehka en eika ettei etta han hanen han he hyva hyvin ja jo joka jos kaikki kanssa kello kiitos koska kuin
            kun kaksi kylla mika mina minulla minun missa mita mutta me myos ne niin nyt olen oli olla on ole ovat sen se
            siella sina sitten tama tanaan te vain vai viela yksi""",
        "fr": """a ai alors au aussi aux avec bien bon ca ce cela ces cet cette chez comme dans de des deux dit du elle elles
            en est et etait etre eu fait faut il ils j'ai je jour la le les leur lui ma mais mes me moi mon ne nous ni non
            notre on ou oui par pas plus pour quand que qui quoi sa sans se ses si son sont sur ta te tes toi ton tout tres
            tu un une va vos votre vous y""",
        "hu": """a az aki ami amit azt be csak de e egy el en es ez ezt fel ha hogy hol hogyan is itt ki kell le ma majd meg mi
            mint mit most nagyon nem nincs o ott s se sem szep te tud tudom van vagy vagyok volt""",
        "id": """ada adalah akan aku anak anda apa atau bahwa bisa dalam dan dari dengan di dia hari ia ini itu juga kami kamu
            karena kata ke kepada kita lagi lebih mereka nanti oleh orang pada saat sangat satu saya sedang sekali sudah
            telah terima tidak untuk yang""",
        "it": """a ad ai al alla anche che chi ci come con cosa da dai dal dalla degli dei del della delle di dove e era essere
            fa gli ha hanno ho i il in io la le lei lo loro lui ma me mi mia mio molto ne nel nella no noi non o per perche
            piu poi prego qua quando quello questa questo qui quindi se sei si sono sta stato sua sul sulla suo te ti tu
            tutti tutto un una uno va vi voi""",
        "nl": """aan al alle als bedankt ben bij dan dat de deze die dit doen door dus een en er gaan geen geweest goed haar had
            heb hebben heeft heel hem het hier hij hoe hun ik in is ja je jij jullie kan komt maar me meer met mij mijn
            moet naar niet niets niemand nog nu of om omdat onder ons ook op over te tegen thuis tot u uit van veel
            verder voor waar want waren was wat we weer wel werd wie wil worden zal ze zich zij zijn zo zou""",
        "no": """alle at av bare ble da de deg dem den denne der det dette du en er et etter for fra ha hadde han har hun hva
            hvis hvor i igjen ikke inn jeg kan kom litt man med meg meget men min na nar noe noen nei og om opp oss pa sa
            seg ser si skal som sa takk til ut var ved veldig vet vi vil""",
        "pl": """a aby ale bez bo by byc byl co czy dla do dzis gdy gdzie go i ich ja jak jako jest jeszcze juz kiedy kto ktory
            ma mam mi mnie moja moj na nad nie niz o od on ona pan po pod prosze przez przy sa sie ta tak tam te tego ten
            to tu tylko ty u w we wiem z za ze""",
        "pt": """a agora ao aos aqui as ate com como da das de dela dele depois dia do dos e ela ele em entre era essa esse esta
            este eu foi ha isso ja la lhe mais mas me mesmo meu minha muito na nao nas nem no nos nossa o obrigado onde os
            ou para pela pelo por porque quando que quem se sem ser seu so sua tem ter todo tu tudo um uma vai voce""",
        "ro": """a ai al ale am acasa acest aceasta ar asta au ca care ce cu da dar de din doar e ea ei el este eu fi foarte fost
            ii imi in la le lor lui ma mai mea mergem meu mi nici nu noi o pe pentru prin sa sau se si sunt tu un una unde
            unui va voi""",
        "sv": """alla att av bara bli blev da de dem den denna det dig din du efter eller en er ett fran for fore ga gick ha
            hade han har hej henne hon honom hur har i igen in inga inte ja jag kan kom lite man med men mig min mot mycket
            na nar nej ni nu och om oss pa sa sig sin ska skulle som tack till under upp ut vad var vi vid vill""",
        "sw": """alikuwa au bila cha hapa hata hii hiki hivi huyu ili kama katika kila kuna kutoka kuwa kwa kwenye la lakini
            leo mtu na ndani ndiyo ni nina pia sana si sasa tu wa wako wakati watu wapi ya yake yangu yuko yule za""",
        "tl": """ako ang at ay ano ba dahil din hindi ikaw isa ito ka kami kay ko kung lang mag mga mo na nang ng ngayon ni niya
            pa para po sa si sila siya tayo wala""",
        "tr": """ama ben beni benim bir biri bu bugun cok da daha de degil diye en evet gibi gel hava hayir her icin ile ise iyi
            kadar ki kim mi ne neden nerede o olan olarak oldu on onu onun sana sen sonra su tamam var ve ya yok zaman""",
        "vi": """anh ay ba bi cac cai cam chi cho chung co con cua da dang day de den di duoc em gi hai khi khong la lai lam lan
            len mot nay nguoi nha nhu nhung o ong ra rat roi se sau ta the thi toi trong va vao ve viec voi""",
    }.items()
}
