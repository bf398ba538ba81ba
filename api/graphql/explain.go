package graphql

import "github.com/uploadbroker/uploadbroker/api/graphql/schema"

// explanation is what a person is told of a code of a reconstruction.
type explanation struct{ description, solution string }

// explain returns the words for a code in a language.
func explain(code schema.ProjectErrorCode, lang schema.LocaleType) explanation {
	var en, cn, tw explanation
	switch code {
	case schema.ProjectErrorCodeImagesUnjudged:
		en = explanation{"Some images are still being uploaded or checked.", "Wait until every image is Ready or Invalid, then start again; or pre-start, which waits by itself."}
		cn = explanation{"还有图片正在上传或检查。", "请等所有图片变为 Ready 或 Invalid 后再开始；也可以预开始，由服务器自动等待。"}
		tw = explanation{"還有圖片正在上傳或檢查。", "請等所有圖片變為 Ready 或 Invalid 後再開始；也可以預先開始，由伺服器自動等待。"}
	case schema.ProjectErrorCodeNoReadyImage:
		en = explanation{"No image of the project is Ready.", "Upload photos; if they are Invalid, read the error of each, mend it and upload again."}
		cn = explanation{"项目中没有 Ready 状态的图片。", "请上传照片；若图片为 Invalid，请查看每张的错误原因，修正后重新上传。"}
		tw = explanation{"專案中沒有 Ready 狀態的圖片。", "請上傳照片；若圖片為 Invalid，請查看每張的錯誤原因，修正後重新上傳。"}
	case schema.ProjectErrorCodeTooFewReady:
		en = explanation{"Fewer images are Ready than were expected.", "Upload the missing ones, or start with a smaller number as expected."}
		cn = explanation{"Ready 状态的图片少于预期数量。", "请补传缺少的图片，或减小 expected 后再开始。"}
		tw = explanation{"Ready 狀態的圖片少於預期數量。", "請補傳缺少的圖片，或減小 expected 後再開始。"}
	case schema.ProjectErrorCodeAlreadyRunning:
		en = explanation{"A reconstruction of this project is running.", "Wait for its end, or stop it first."}
		cn = explanation{"该项目的重建正在进行。", "请等待其结束，或先停止它。"}
		tw = explanation{"該專案的重建正在進行。", "請等待其結束，或先停止它。"}
	case schema.ProjectErrorCodeNoEngine:
		en = explanation{"No reconstruction engine is configured on this server.", "Ask the operator of the server; the images stay where they are."}
		cn = explanation{"此服务器没有配置重建引擎。", "请联系服务器管理员；图片会保留。"}
		tw = explanation{"此伺服器沒有設定重建引擎。", "請聯絡伺服器管理員；圖片會保留。"}
	case schema.ProjectErrorCodeNotAllowed:
		en = explanation{"Your key may not start a reconstruction.", "Use a key with the scope upload."}
		cn = explanation{"您的密钥无权开始重建。", "请使用带有 upload 权限的密钥。"}
		tw = explanation{"您的金鑰無權開始重建。", "請使用帶有 upload 權限的金鑰。"}
	case schema.ProjectErrorCodeEngineFailed:
		en = explanation{"The reconstruction engine failed.", "Start again; if it fails again, ask the operator of the server."}
		cn = explanation{"重建引擎出错。", "请重新开始；若再次失败，请联系服务器管理员。"}
		tw = explanation{"重建引擎出錯。", "請重新開始；若再次失敗，請聯絡伺服器管理員。"}
	}
	switch lang {
	case schema.LocaleTypeZhCn:
		return cn
	case schema.LocaleTypeZhTw:
		return tw
	}
	return en
}
