"""Everyday sentences in many languages, written for these tests: telephone prompts, small talk, plain narration."""

SENTENCES = {
    "de": """Bitte drücken Sie die Eins.
Der Anrufer ist zurzeit nicht erreichbar.
Wir treffen uns um acht am Bahnhof.
Das Wetter war gestern viel besser.
Ich habe keine Ahnung, was er will.
Wann kommt der Zug in Hannover an?
Sie hat in der Hand einen alten Ball.
Die Kinder warten im Garten auf den Hund.
Kein Problem, so machen wir es.
Auf Wiederhören.""",
    "es": """Pulse uno para continuar.
El abonado no se encuentra disponible en este momento.
Mañana vamos a la playa con los niños.
No me digas que has perdido las llaves.
La casa de mi hermano es muy grande.
Un año nuevo, una vida nueva.
Deje su mensaje tras la señal.
Hace mucho calor en agosto.
Me gusta leer antes de dormir.
Gracias por llamar.""",
    "pt": """Um dia um homem entrou na loja.
Para falar com um atendente, digite nove.
Não sei onde deixei o livro.
A menina come uma maçã no jardim.
Os carros pararam na rua da igreja.
Eu gosto muito de viajar de trem.
O seu saldo é de vinte reais.
Amanhã vai chover em todo o estado.
Obrigado por ter esperado.
Ela disse que volta mais tarde.""",
    "fr": """Tapez un pour continuer.
Votre correspondant est en ligne.
Je ne sais pas ce que tu veux dire.
Les enfants jouent dans le jardin.
Il fait froid ce matin sur la montagne.
Nous avons mange chez ma tante dimanche.
Le train part a huit heures du soir.
Elle a une petite maison au bord de la mer.
Merci de votre appel.
C'est une bonne question.""",
    "it": """Prema uno per continuare.
Il numero selezionato non è raggiungibile.
Andiamo al mare con gli amici.
Non so cosa vuoi dire.
La mia macchina è rotta da ieri.
Il gatto dorme sul divano.
Domani arriva mia sorella da Torino.
Che bella giornata, usciamo?
Grazie per aver chiamato.
Questo libro è molto lungo.""",
    "nl": """Toets een om verder te gaan.
De trein naar Utrecht vertrekt over tien minuten.
Ik was in de stad en het was druk.
We gaan morgen met de bus.
Dat is een heel goed idee.
Waar woont die man met de hond?
Zij had geen tijd om te eten.
Hij is op zijn werk.
Er is niemand thuis.
Bedankt voor het wachten.""",
    "sv": """Tryck ett för att fortsätta.
Vi ses i morgon klockan tre.
Hon bor i ett litet hus vid sjön.
Jag har inte sett honom på länge.
Det var en gång en flicka.
Bussen går om tio minuter.
Kan du hjälpa mig med det här?
Han tog boken och gick hem.
Vädret är fint i dag.
Tack för samtalet.""",
    "da": """Tryk et for at komme videre.
Jeg har ikke set ham i dag.
Hun bor i et lille hus ved havet.
Vi skal til byen i morgen.
Det var en god film.
Kan du sige det igen?
Toget kommer om ti minutter.
De er alle sammen hjemme.
Hvad er klokken?
Tak for i dag.""",
    "no": """Trykk en for norsk.
Jeg vet ikke hvor han er.
Vi skal til hytta i helgen.
Hun har en stor hund og to katter.
Det er fint vær i dag.
Bussen var veldig sen i morges.
Kan du komme litt tidligere?
Barna leker ute i snøen.
De har ikke spist ennå.
Takk for at du ventet.""",
    "pl": """Wybierz jeden, aby kontynuować.
To jest mój brat.
Nie wiem, gdzie on mieszka.
W domu nie ma nikogo.
Jutro jedziemy do miasta.
Ten pociąg odjeżdża o piątej.
Pogoda jest dzisiaj bardzo ładna.
Ona ma psa i dwa koty.
Proszę zostawić wiadomość po sygnale.
Dziękuję za rozmowę.""",
    "cs": """Pro pokračování stiskněte jedna.
To je moje sestra.
Nevím, kde je ten klíč.
Vlak do Brna odjíždí za deset minut.
Dnes je venku hezky.
Máme doma psa a dvě kočky.
On to neudělal.
Zítra pojedeme na hory.
Kolik je hodin?
Děkuji za zavolání.""",
    "tr": """Devam etmek için biri tuşlayın.
Bugün hava çok güzel.
Onun nerede olduğunu bilmiyorum.
Yarın sabah erken kalkacağım.
Bu kitap benim değil.
Çocuklar bahçede oynuyor.
Tren saat sekizde kalkıyor.
Bir bardak su ister misin?
Annem mutfakta yemek yapıyor.
Aradığınız için teşekkürler.""",
    "fi": """Valitse yksi jatkaaksesi.
En tiedä missä hän on.
Huomenna menemme mökille.
Sää on tänään kaunis.
Koira nukkuu sohvalla.
Minulla on kaksi kissaa.
Juna lähtee kello kahdeksan.
Se oli hyvä elokuva.
Voitko auttaa minua?
Kiitos soitosta.""",
    "id": """Tekan satu untuk melanjutkan.
Saya tidak tahu di mana dia.
Besok kami pergi ke pantai.
Buku ini sangat bagus.
Anak itu bermain di halaman.
Kereta berangkat jam delapan.
Cuaca hari ini panas sekali.
Ibu sedang memasak di dapur.
Mereka akan datang nanti malam.
Terima kasih telah menelepon.""",
    "ro": """Apăsați unu pentru a continua.
Nu știu unde este cartea.
Mâine mergem la munte.
Casa lor este foarte mare.
El a plecat de acasă la opt.
Am un câine și două pisici.
Ce mai faci?
Trenul pleacă în zece minute.
Vremea este frumoasă astăzi.
Mulțumesc pentru apel.""",
    "hu": """Nyomja meg az egyes gombot.
Nem tudom, hol van a kulcs.
Holnap a városba megyünk.
Ez a könyv nagyon jó.
A gyerekek a kertben játszanak.
Van egy kutyám és két macskám.
A vonat nyolc órakor indul.
Ma szép idő van.
Mit csinálsz este?
Köszönjük a hívást.""",
    "sw": """Bonyeza moja ili kuendelea.
Sijui yuko wapi.
Kesho tutaenda mjini.
Kitabu hiki ni kizuri sana.
Watoto wanacheza nje.
Mama anapika chakula jikoni.
Leo kuna joto kali.
Nina mbwa na paka wawili.
Treni itaondoka saa mbili.
Asante kwa kupiga simu.""",
    "af": """Druk een om voort te gaan.
My hand is in warm water.
Ons was gister in die stad.
Ek weet nie waar hy is nie.
Die hond slaap op die bank.
Dit is baie warm vandag.
Sy het vir my 'n boek gegee.
Wat is die tyd?
Die trein kom oor tien minute.
Dankie vir jou oproep.""",
    "ca": """Premeu un per continuar.
No sé on és la clau.
Demà anirem a la platja amb els nens.
El tren surt a les vuit.
Aquest llibre és molt bo.
La casa de la meva germana és gran.
Avui fa molta calor.
Tinc un gos i dos gats.
Què vols fer aquesta nit?
Gràcies per trucar.""",
    "vi": """Nhấn phím một để tiếp tục.
Tôi không biết anh ấy ở đâu.
Ngày mai chúng tôi đi biển.
Quyển sách này rất hay.
Trẻ em đang chơi ngoài vườn.
Hôm nay trời nóng quá.
Mẹ đang nấu ăn trong bếp.
Tàu chạy lúc tám giờ.
Tôi có một con chó và hai con mèo.
Cảm ơn bạn đã gọi.""",
    "tl": """Pindutin ang isa para magpatuloy.
Hindi ko alam kung nasaan siya.
Pupunta kami sa bayan bukas.
Maganda ang libro na ito.
Naglalaro ang mga bata sa labas.
Mainit ang panahon ngayon.
May aso at dalawang pusa ako.
Aalis ang tren mamayang alas otso.
Ano ang gusto mong kainin?
Salamat sa inyong pagtawag.""",
}
SENTENCES = {code: text.splitlines() for code, text in SENTENCES.items()}

#: The same of languages in other scripts.
OTHER_SCRIPTS = {
    "ru": ["Нажмите один.", "Я не знаю, где он."],
    "el": ["Πατήστε ένα.", "Δεν ξέρω πού είναι."],
    "hi": ["कृपया एक दबाएँ।", "मुझे नहीं पता वह कहाँ है।"],
    "ar": ["اضغط واحد.", "لا أعرف أين هو."],
    "he": ["הקש אחת.", "אני לא יודע איפה הוא."],
    "ko": ["일 번을 누르세요.", "그가 어디에 있는지 모르겠어요."],
    "zh": ["请按一。", "我不知道他在哪里。"],
    "ja": ["一を押してください。", "彼がどこにいるか知りません。"],
    "th": ["กรุณากดหนึ่ง", "ฉันไม่รู้ว่าเขาอยู่ที่ไหน"],
    "lo": ["ກະລຸນາກົດໜຶ່ງ", "ຂ້ອຍບໍ່ຮູ້ວ່າລາວຢູ່ໃສ"],
    "km": ["សូមចុចមួយ", "ខ្ញុំមិនដឹងថាគាត់នៅឯណាទេ"],
    "my": ["တစ်ကိုနှိပ်ပါ", "သူဘယ်မှာလဲမသိဘူး"],
}
UNSPACED = ("zh", "ja", "th", "lo", "km", "my")
